package postgresql

import (
	"context"
	"regexp"

	"github.com/cofferdb/coffer/datastores"
)

// followingQuery asks a standby: whether it is one, whether it streams, whether somebody has paused it, how far it has come and how
// far its source had when it was last heard of, and how old what it has applied last is. A link on which nothing was heard for
// longer than it takes a receiver to ask for an answer, half its timeout, is dead.
const followingQuery = `SELECT pg_is_in_recovery(), COALESCE(r.status, ''),
	CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() = 'paused' END,
	pg_last_wal_replay_lsn(), GREATEST(pg_last_wal_receive_lsn(), r.latest_end_lsn),
	EXTRACT(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::bigint,
	t.setting::bigint > 0 AND clock_timestamp() - r.last_msg_receipt_time > make_interval(secs => t.setting::bigint / 2000 + 5)
	FROM pg_settings t LEFT JOIN pg_stat_wal_receiver r ON true WHERE t.name = 'wal_receiver_timeout'`

// receiverTrouble is a line of the server's log about its source.
var receiverTrouble = regexp.MustCompile(`(?m)^.*FATAL:  .*(primary server|WAL stream|walreceiver|primary's|timeline).*$`)

// Following implements [datastores.Replication]. A source that refuses writes is a standby of nobody, see side; it follows nobody.
func (m *Manager) Following(ctx context.Context) (is datastores.Following, err error) {
	is.Role = datastores.RoleSource
	should, err := m.loadSide()
	if err != nil || should.Source == nil {
		return is, err
	}
	err = m.with(ctx, func(s *session) error {
		rows, err := s.query(ctx, followingQuery)
		if err != nil || len(rows) != 1 {
			return failed(err, "cannot ask whether the source is followed")
		}
		row := rows[0]
		if !row[0].bool() {
			return nil
		}
		applied, _ := parseLSN(row[3].String())
		received, _ := parseLSN(row[4].String())
		is = datastores.Following{Role: datastores.RoleReplica, At: applied.String(), Waits: received > applied, Lag: datastores.Lag{}}
		is.Lag[datastores.Bytes] = int64(max(received, applied) - applied)
		switch streams := row[1].String() == "streaming"; {
		case row[2].bool():
			is.Why = "the replay of the source's log is paused"
		case !streams:
			is.Lag = nil // it does not know how far its source is
			is.Why = "it does not receive the log of its source" + m.receiverWords()
		case row[6].bool():
			is.Why = "its source has said nothing for too long"
		default:
			is.Follows = true
		}
		if is.Waits && row[5] != nil {
			is.Lag[datastores.Seconds] = max(0, row[5].int())
		} else if is.Follows {
			is.Lag[datastores.Seconds] = 0
		}
		return nil
	})
	return is, err
}

// receiverWords continue a sentence with the last that the server's log says about its source.
func (m *Manager) receiverWords() string {
	said := receiverTrouble.FindAllString(m.lastWords(), -1)
	if said == nil {
		return ""
	}
	return ": " + datastores.Reason(said[len(said)-1])
}
