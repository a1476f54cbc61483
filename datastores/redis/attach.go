package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

// historyID is the history that a position belongs to.
func historyID(p datastores.Position) string {
	id, _, _ := strings.Cut(p.ID, ":")
	return id
}

// attach replaces all data by the source's. A former source whose acknowledged writes the new source lacks is refused,
// and stays as it is: the source must have been promoted from a replica that had come to this server's mark.
func (m *Manager) attach(ctx context.Context, req datastores.AttachRequest) error {
	if req.Account.Password.IsZero() {
		return datastores.Errorf(datastores.Invalid, "the account on the source needs a password")
	}
	from := source{Address: req.Address, User: req.Account.User, Password: req.Account.Password.Reveal()}
	there, err := m.look(ctx, from)
	if err != nil {
		return fmt.Errorf("cannot log in to the source: %w", err)
	}
	if req.Former || req.Keep {
		if err := m.mayGiveUp(ctx, there.history, req); err != nil {
			return err
		}
	}
	if err := errors.Join(m.otherHistory(), m.follow(ctx, from, req.Progress)); err != nil {
		return err
	}
	// The data are the source's from here on: what was before the mark is in there.
	from.Synced = true
	if err := m.saveSide(side{Source: &from}); err != nil {
		return err
	}
	if err := m.reconfigure(ctx); err != nil {
		return err
	}
	return m.copyUsers(ctx)
}

// mayGiveUp returns an error when this server, the source until now, or a replica that somebody has told to be none, has
// acknowledged what the new source does not have. A server without a mark is made read-only first, so that nothing is added
// meanwhile.
func (m *Manager) mayGiveUp(ctx context.Context, there history, req datastores.AttachRequest) error {
	address := req.Address
	if err := m.Start(ctx); err != nil {
		return err
	}
	st, err := m.loadSide()
	if err != nil {
		return err
	}
	if req.Keep {
		info, err := m.info(ctx, "replication")
		if err != nil || info["role"] == roleReplica {
			return err // nobody could write here
		}
	} else if st.Source != nil && st.Source.Address == address {
		return nil // an earlier try has come further than this
	}
	if st.Mark == nil {
		if err := m.setReadOnly(ctx, true); err != nil {
			return err
		}
		if st, err = m.loadSide(); err != nil {
			return err
		}
	}
	if there.has(*st.Mark) {
		return nil
	}
	return datastores.Errorf(datastores.Conflict,
		"this server has acknowledged writes up to %s, and the new source at %s is not known to have them (it follows %s up to %d); "+
			"attaching it would lose them. Save what is missing and make a new replica in its place",
		st.Mark.ID, address, there.replid2, max(there.secondOffset, 1)-1)
}

// follow makes the server a replica of the source, and returns when it has everything. The state that makes it one
// after a restart is stored first.
func (m *Manager) follow(ctx context.Context, from source, progress func(string)) error {
	st, err := m.loadSide()
	if err != nil {
		return err
	}
	st.Source = &from
	if err := m.saveSide(st); err != nil {
		return err
	}
	if err := m.Start(ctx); err != nil {
		return err
	}
	if err := m.listen(ctx); err != nil { // a server that ran before does not know yet how it has to follow
		return err
	}
	err = m.call(ctx,
		[]string{"CONFIG", "SET", "masteruser", from.User, "masterauth", from.Password},
		m.replicaOf(from),
	)
	if err != nil {
		return fmt.Errorf("cannot follow the source: %w", err)
	}
	for {
		info, err := m.info(ctx, "replication")
		if err != nil {
			return err
		}
		if info["role"] == roleReplica && info["master_host"] == from.Address && info["master_link_status"] == "up" {
			return m.awaitLog(ctx) // until then a restart would find what was there before
		}
		if left := info["master_sync_left_bytes"]; left != "" && !strings.HasPrefix(left, "-") {
			progress("copying from the source, bytes left: " + left)
		}
		if !service.Pause(ctx, 20*time.Millisecond) {
			err := fmt.Errorf("the source at %s has not been copied: %w", from.Address, ctx.Err())
			return &service.Failure{Program: m.service.Name, Err: err, Words: m.service.LastWords()}
		}
	}
}

// there is what a replica's guest learns of its source.
type there struct {
	history history
	users   []account
}

// look asks the source, with the replica's account.
func (m *Manager) look(ctx context.Context, s source) (there, error) {
	secure, err := m.env.ServerTLS().ToSource(s.Address)
	if err != nil {
		return there{}, err
	}
	c, err := dialTCP(ctx, s.Address, secure)
	if err != nil {
		return there{}, err
	}
	defer func() { _ = c.Close() }()
	if _, err := c.call("AUTH", s.User, s.Password); err != nil {
		return there{}, err
	}
	info, err1 := c.call("INFO", "replication")
	lines, err2 := c.list("ACL", "LIST")
	if err := errors.Join(err1, err2); err != nil {
		return there{}, err
	}
	return there{historyOf(parseInfo(info)), tenants(parseAccounts(lines))}, nil
}

// copyUsers makes root and the users of this replica those of its source.
func (m *Manager) copyUsers(ctx context.Context) error {
	st, err := m.loadSide()
	if err != nil || st.Source == nil {
		return err
	}
	there, err := m.look(ctx, *st.Source)
	if err != nil {
		return fmt.Errorf("cannot read the users of the source: %w", err)
	}
	var valid []account
	for _, a := range there.users {
		if a.Name == rootUser || datastores.Fits(userPattern, a.Name) {
			valid = append(valid, a)
		}
	}
	return m.setTenants(ctx, valid, st.ReadOnly)
}

// copyLastUsers does without a source that cannot be asked any more: then the users stay as they were last known.
func (m *Manager) copyLastUsers(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := m.copyUsers(ctx); err != nil {
		m.env.Log.Warn("the users of the source cannot be read, those last known stay", "err", err)
	}
}
