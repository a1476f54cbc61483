package datastores

import (
	"cmp"
	"regexp"
	"strconv"
)

// runs splits "10.11-rc1" into 10, ".", 11, "-rc", 1.
var runs = regexp.MustCompile(`\d+|\D+`)

// CompareVersions orders version numbers such as 10.4, 10.11 and 10.11-rc1, as [cmp.Compare] does: numbers in them count as numbers.
func CompareVersions(a, b string) int {
	as, bs := runs.FindAllString(a, -1), runs.FindAllString(b, -1)
	for i := range min(len(as), len(bs)) {
		na, errA := strconv.Atoi(as[i])
		nb, errB := strconv.Atoi(bs[i])
		c := cmp.Compare(as[i], bs[i])
		if errA == nil && errB == nil {
			c = cmp.Compare(na, nb)
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(as), len(bs))
}
