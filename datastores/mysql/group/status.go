package group

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// Status is how a server gets on with its group.
type Status struct {
	Cluster  string   // of which group it would be
	State    string   // ONLINE, RECOVERING, OFFLINE, ERROR, UNREACHABLE
	Together []string // the addresses of all that it takes for members now
	Online   int      // of these that have everything
	Reached  int      // of these that it hears of
	Closed   bool     // to clients
	// Has are the transactions that the server has, those included that it has received and not yet applied: who acknowledges one has waited until
	// every member had received it.
	Has string
	// Known are the addresses of all members, also of those that are away, as the cluster's own table has them.
	Known []string
}

// Works reports whether the server is in a group that takes writes.
func (s Status) Works() bool { return s.State == "ONLINE" && 2*s.Reached > len(s.Together) }

// Outside reports whether the server is in no group, and will not be in one unless it is told to.
func (s Status) Outside() bool { return s.State == "" || s.State == "OFFLINE" || s.State == "ERROR" }

// Trouble says why the server takes no writes; "": it does.
func (s Status) Trouble() string {
	switch {
	case s.Outside():
		return "the server is outside of its cluster, and takes no writes until it is in again"
	case 2*s.Reached <= len(s.Together):
		return fmt.Sprintf("the server is with %d of %d of its cluster, which are too few to take writes; it goes on when the others are back", s.Reached, len(s.Together))
	case s.State != "ONLINE":
		n, _ := Count(s.Has)
		return fmt.Sprintf("the server has not caught up with its cluster: it says %s, and has %d transactions", s.State, n)
	case s.Closed:
		return "the server is in its cluster again, and not open yet"
	}
	return ""
}

// Looking are the variables of a session that only looks, also at a server which could not wait for the others.
func Looking() map[string]string {
	return map[string]string{"group_replication_consistency": "'EVENTUAL'"}
}

// Ask asks a server, by the account of its guest or that of the cluster's.
func Ask(ctx context.Context, db *sql.DB) (s Status, err error) {
	const applier = "(SELECT RECEIVED_TRANSACTION_SET FROM performance_schema.replication_connection_status WHERE CHANNEL_NAME = 'group_replication_applier')"
	err = db.QueryRowContext(ctx, "SELECT @@GLOBAL.group_replication_group_name, @@GLOBAL.offline_mode OR @@GLOBAL.read_only, @@GLOBAL.gtid_executed, "+
		"COALESCE(GTID_SUBTRACT("+applier+", @@GLOBAL.gtid_executed), '')").Scan(&s.Cluster, &s.Closed, &s.Has, &rest{&s.Has})
	if err != nil {
		return s, err
	}
	rows, err := db.QueryContext(ctx, "SELECT MEMBER_ID = @@GLOBAL.server_uuid, MEMBER_HOST, MEMBER_STATE FROM performance_schema.replication_group_members")
	if err != nil {
		return s, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var own bool
		var address, state string
		if err := rows.Scan(&own, &address, &state); err != nil {
			return s, err
		}
		if own {
			s.State = state
		}
		s.Together = append(s.Together, address)
		if state == "ONLINE" {
			s.Online++
		}
		if state == "ONLINE" || state == "RECOVERING" {
			s.Reached++
		}
	}
	if err := rows.Err(); err != nil {
		return s, err
	}
	slices.Sort(s.Together)
	s.Known, err = known(ctx, db)
	return s, err
}

// rest adds to a set of transactions.
type rest struct{ to *string }

// Scan implements [sql.Scanner].
func (r *rest) Scan(value any) error {
	more, ok := value.([]byte)
	if !ok {
		return fmt.Errorf("%T is no set of transactions", value)
	}
	*r.to = strings.Trim(strings.Join(strings.Fields(*r.to+","+string(more)), ""), ",")
	return nil
}

// Count counts the transactions of a set such as uuid:1-5:11,uuid:1-3:tag:1-4.
func Count(set string) (count uint64, err error) {
	for source := range strings.SplitSeq(set, ",") {
		_, intervals, _ := strings.Cut(source, ":")
		for interval := range strings.SplitSeq(intervals, ":") {
			if interval == "" || interval[0] < '0' || interval[0] > '9' { // a tag begins with a letter or an underscore
				continue
			}
			first, last, isRange := strings.Cut(interval, "-")
			if !isRange {
				last = first
			}
			a, err1 := strconv.ParseUint(first, 10, 64)
			b, err2 := strconv.ParseUint(last, 10, 64)
			if err1 != nil || err2 != nil || b < a {
				return 0, fmt.Errorf("%q is no set of GTIDs", set)
			}
			count += b - a + 1
		}
	}
	return count, nil
}

// errNoTable is the server's number for what a server says that was in no cluster yet.
const errNoTable = 1146

func isNoTable(err error) bool {
	said := (*mysql.MySQLError)(nil)
	return errors.As(err, &said) && said.Number == errNoTable
}
