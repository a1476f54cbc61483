package etcdschema

import (
	"strings"
	"time"
)

// Due is the record at a key of the due index. The key says everything.
type Due struct{}

// dueFormat writes the time of a due key so that keys sort by it.
const dueFormat = "20060102-150405.000"

// DueTime is the time of the key of what is due at t: t, rounded up to what a key can say.
func DueTime(t time.Time) time.Time {
	return t.UTC().Add(time.Millisecond - time.Nanosecond).Truncate(time.Millisecond)
}

// DueKey is the place of what is due at a time: of a kind, the id of a project's record. The time is a [DueTime].
func DueKey(kind string, at time.Time, project, id string) Key[Due] {
	return key[Due](duePattern, aName("kind", kind), aName("time", at.UTC().Format(dueFormat)), aName("project", project), anID("id", id))
}

// Dues is everything of a kind, the earliest first. Its names are "time/project/id".
func Dues(kind string) Prefix[Due] { return prefix[Due]("/server/due/*/", aName("kind", kind)) }

// ParseDueName reads a name of [Dues].
func ParseDueName(name string) (at time.Time, project, id string, ok bool) {
	parts := strings.Split(name, "/")
	if len(parts) != 3 {
		return at, "", "", false
	}
	at, err := time.Parse(dueFormat, parts[0])
	return at, parts[1], parts[2], err == nil && ValidName(parts[1]) && ValidID(parts[2])
}
