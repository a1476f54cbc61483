package configfile_test

import (
	"fmt"

	"github.com/cofferdb/coffer/datastores/configfile"
)

func ExampleRedis() {
	conf, err := configfile.Redis([]string{"bind", "127.0.0.1", "::1"}, []string{"dir", "/srv/my data"})
	if err != nil {
		fmt.Println(err)
	}
	fmt.Print(string(conf))
	// Output:
	// bind 127.0.0.1 ::1
	// dir "/srv/my data"
}
