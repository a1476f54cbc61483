package redis

import (
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// variant is a server that the manager knows, and what is different about it.
type variant struct {
	name    string // as option "server" has it: program and version
	rdb     int    // the newest RDB format that it reads and writes
	program string // Debian's
	pkg     string
	mount   string
	image   string // of the release that has it; "": Debian 12
}

// variants are all of them. Who reads whose data follows from the formats: Valkey left Redis at 7.2, whose format is 11.
func variants() []variant {
	return []variant{
		{"redis-7.0", 10, "/usr/bin/redis-server", "redis-server", "/var/lib/redis", ""},
		{"valkey-8.1", 11, "/usr/bin/valkey-server", "valkey-server", "/var/lib/valkey", "debian-13"},
	}
}

func findVariant(name string) (variant, bool) {
	all := variants()
	i := slices.IndexFunc(all, func(v variant) bool { return v.name == name })
	if i < 0 {
		return variant{}, false
	}
	return all[i], true
}

func variantNames() []string {
	var names []string
	for _, v := range variants() {
		names = append(names, v.name)
	}
	return names
}

func (v variant) server() string  { name, _, _ := strings.Cut(v.name, "-"); return name }
func (v variant) version() string { _, version, _ := strings.Cut(v.name, "-"); return version }

// takesOver reports whether v can be started with the data of old: the same or a newer version of the same server, or
// Valkey after a Redis whose format it reads.
func (v variant) takesOver(old variant) bool {
	if v.server() == old.server() {
		return datastores.CompareVersions(v.version(), old.version()) >= 0
	}
	return v.server() == "valkey" && old.rdb <= v.rdb
}
