package mysql

import (
	"context"
	"database/sql"

	"github.com/cofferdb/coffer/datastores"
)

// A MariaDB server that follows by global transaction identifiers throws away, when it is started, what it has received and has not applied
// (measured with 10.11), and receives it anew from its source. A candidate may have acknowledged that: when the source is lost before it has
// come again, the candidate must not say that it has all.

// forgets is called before a server is started, or begins to follow anew: what it has acknowledged may be gone.
func (m *Manager) forgets() error {
	is, err := m.loadSide()
	if err != nil || !is.Stands || is.Forgot && is.Level == 0 {
		return err
	}
	is.Forgot, is.Level = true, 0
	return m.own.SaveJSON(sideName, is)
}

// relearn looks whether a candidate that has forgotten has all again: it asks the source how far that has come since, and waits until it has
// come as far.
func (m *Manager) relearn(ctx context.Context, db *sql.DB) error {
	is, err := m.loadSide()
	if err != nil || !is.Forgot || is.Source == nil {
		return err
	}
	if is.Level == 0 {
		from := is.Source
		source, err := m.dialServer(from.Address, from.User, datastores.NewSecret(from.Password), m.env.ServerTLS().VerifySource)
		if err != nil {
			return err
		}
		defer func() { _ = source.Close() }()
		all, err := selectGTIDs(ctx, source, "CONCAT(@@GLOBAL.gtid_binlog_pos, ',', @@GLOBAL.gtid_slave_pos)")
		if err != nil {
			return failed(err, "cannot ask the source how far it has come")
		}
		last, _ := all.last(0)
		is.Level = last.seq
	}
	p, err := m.variant.dialect.position(ctx, db)
	if err != nil {
		return failed(err, "cannot read the server's position")
	}
	if p.Count >= is.Level {
		is.Forgot, is.Level = false, 0
	}
	return m.own.SaveJSON(sideName, is)
}

// vote stores how far a fenced candidate has come, and refuses to say so when there may be less than it has acknowledged.
func (m *Manager) vote(p datastores.Position) error {
	is, err := m.loadSide()
	if err != nil {
		return err
	}
	if is.Forgot && (is.Voted == 0 || p.Count < is.Voted) { // since it voted it has received nothing
		return datastores.Errorf(datastores.Conflict,
			"the server was started since it acknowledged what it received, and may not have all of that before it has followed its source again; a person who can do without may eject the source")
	}
	is.Voted = p.Count
	return m.own.SaveJSON(sideName, is)
}

// keepsWord refuses once to be promoted with less than what the server said that it had.
func (m *Manager) keepsWord(ctx context.Context, db *sql.DB) error {
	is, err := m.loadSide()
	if err != nil || is.Voted == 0 {
		return err
	}
	p, err := m.variant.dialect.position(ctx, db)
	if err != nil {
		return failed(err, "cannot read the server's position")
	}
	if p.Count >= is.Voted {
		return nil
	}
	said := is.Voted
	is.Voted = 0
	if err := m.own.SaveJSON(sideName, is); err != nil {
		return err
	}
	return datastores.Errorf(datastores.Conflict, "the server said that it had %d transactions, was started since, and has %d; asked again it is promoted without the others", said, p.Count)
}
