package sandbox

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cofferdb/coffer/datastores/volume"
)

// Size is how many user and group ids a sandbox has, 0 to Size-1 inside.
const Size = 1024

// ServerID is the user and the group of the database server inside.
const ServerID = 100

// IDs gives ranges of ids between First and Last. A range is given again only when all others have been, for what an
// instance leaves behind somewhere belongs to whoever has its ids. The counter is in File.
type IDs struct {
	First, Last int
	Each        int // how many ids a range has; 0: Size
	File        string
}

// Next returns the first id of a range that is not taken, and remembers that it was given. Two must not be asked at once.
func (r IDs) Next(taken func(first int) bool) (int, error) {
	each := cmp.Or(r.Each, Size)
	n := (r.Last - r.First + 1) / each
	given, err := r.given()
	if err != nil {
		return 0, err
	}
	for range n {
		first := r.First + given%n*each
		given = (given + 1) % n
		if taken(first) {
			continue
		}
		return first, volume.At(filepath.Dir(r.File)).WriteFile(filepath.Base(r.File), fmt.Appendln(nil, given))
	}
	return 0, fmt.Errorf("all %d ranges of ids between %d and %d are taken", n, r.First, r.Last)
}

// given is how many were given in this round.
func (r IDs) given() (int, error) {
	b, err := os.ReadFile(r.File)
	if os.IsNotExist(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s does not hold a number: write into it how many ranges of ids were given", r.File)
	}
	return n, nil
}
