package mysql

import (
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/configfile"
)

func TestSizes(t *testing.T) {
	const gb = 1 << 30
	for _, c := range []struct {
		name, value    string
		memory, volume uint64
		refused        string
	}{
		{"innodb_buffer_pool_size", "536870912", gb, 0, ""},
		{"innodb_buffer_pool_size", "1099511627776", gb, 0, "innodb_buffer_pool_size"},
		{"innodb_buffer_pool_size", "1099511627776", 0, 0, ""},
		{"key_buffer_size", "1073741824", gb, 0, "key_buffer_size"},
		{"innodb_log_file_size", "536870912", 0, gb, ""},
		{"innodb_log_file_size", "536870913", 0, gb, "innodb_log_file_size"},
		{"innodb_log_file_size", "274877906944", 0, 0, ""},
	} {
		settings := []configfile.Setting{{Name: "innodb_log_buffer_size", Value: "1048576"}, {Name: c.name, Value: c.value}}
		err := checkSizes(settings, c.memory, c.volume)
		if c.refused == "" && err != nil || c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)) {
			t.Errorf("%s = %s with %d of memory and %d of volume: %v; want it refused: %q", c.name, c.value, c.memory, c.volume, err, c.refused)
		}
		if err != nil {
			wantKind(t, err, datastores.Invalid)
		}
	}
}
