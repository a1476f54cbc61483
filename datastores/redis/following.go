package redis

import (
	"context"
	"fmt"
	"regexp"
	"strconv"

	"github.com/cofferdb/coffer/datastores"
)

// silence is how many seconds a source may say nothing. It pings each replica every ten.
const silence = 25

// linkTrouble is a line of the server's log about its source.
var linkTrouble = regexp.MustCompile(`(?mi)^.*(\bmaster\b|\bsync\b).*(error|fail|unable|denied|refused).*$|^.*(error|fail|unable).*(\bmaster\b|\bsync\b).*$`)

// Following implements [datastores.Replication]. How old the data of a replica is no server of this family knows.
func (m *Manager) Following(ctx context.Context) (datastores.Following, error) {
	info, err := m.info(ctx, "replication")
	if err != nil || info["role"] != roleReplica {
		return datastores.Following{Role: datastores.RoleSource}, err
	}
	number := func(field string) int64 {
		n, _ := strconv.ParseInt(info[field], 10, 64)
		return n
	}
	received, applied := number("slave_read_repl_offset"), number("slave_repl_offset") // the first is of 7.0 and later
	f := datastores.Following{
		Role: datastores.RoleReplica, At: strconv.FormatInt(applied, 10), Waits: received > applied,
		Lag: datastores.Lag{datastores.Bytes: max(0, received-applied)},
	}
	switch {
	case info["master_sync_in_progress"] == "1":
		f.Why, f.Lag = "it copies all data of its source anew", nil
	case info["master_link_status"] != "up":
		f.Why, f.Lag = "the link to its source is down", nil
		if said := linkTrouble.FindAllString(m.service.LastWords(), -1); said != nil {
			f.Why += ": " + datastores.Reason(said[len(said)-1])
		}
	case number("master_last_io_seconds_ago") > silence:
		f.Why = fmt.Sprintf("its source has said nothing for more than %d seconds", silence)
	default:
		f.Follows = true
	}
	return f, nil
}
