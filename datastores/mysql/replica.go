package mysql

import (
	"context"
	"database/sql"
	"encoding/json"
	"net"
	"strconv"

	"github.com/go-sql-driver/mysql"

	"github.com/cofferdb/coffer/datastores"
)

// attach follows the source. A server with a history of its own, a source until now or a replica of
// another one, goes on after its last transaction when the source has that, and is refused when not. It is started first if it does not
// run: its machine may just be back.
func (m *Manager) attach(ctx context.Context, req datastores.AttachRequest) error {
	if err := m.Start(ctx); err != nil {
		return err
	}
	return m.turn(ctx, func(db *sql.DB) error {
		words := m.variant.dialect.words()
		req.Progress("refusing writes")
		if err := m.refuseWrites(ctx, db); err != nil {
			return err
		}
		if err := execute(ctx, db, words.stop); err != nil {
			return failed(err, "cannot stop following the source before")
		}
		if err := m.forgetWaiting(ctx, db); err != nil {
			return err
		}
		if err := m.endShutOut(ctx, db); err != nil { // what comes from the source is compared with what is so now
			return err
		}
		req.Progress("comparing histories")
		start, err := m.startAt(ctx, db, req)
		if err != nil {
			return err
		}
		if err := execute(ctx, db, start...); err != nil {
			return failed(err, "cannot go to the place in the source's history")
		}
		from := sourceLogin{Address: req.Address, User: req.Account.User, Password: req.Account.Password.Reveal()}
		if err := m.own.SaveJSON(sideName, side{ReadOnly: true, Placed: true, Source: &from}); err != nil {
			return err
		}
		req.Progress("following " + req.Address)
		if err := execute(ctx, db, m.variant.dialect.follow(req, m.env.ServerTLS()), words.start); err != nil {
			return failed(err, "cannot follow the source")
		}
		return m.awaitFollowing(ctx, db)
	})
}

// startAt returns the statements that tell a replica where to begin.
func (m *Manager) startAt(ctx context.Context, db *sql.DB, req datastores.AttachRequest) ([]string, error) {
	r, err := m.loadSide()
	if err != nil {
		return nil, err
	}
	if len(req.Backup) > 0 && !req.Former && !r.Placed {
		var meta backupMeta
		if err := json.Unmarshal(req.Backup, &meta); err != nil {
			return nil, datastores.Errorf(datastores.Invalid, "the backup does not say where in its source's history it ends")
		}
		return m.variant.dialect.startAtBackup(meta.GTID), nil
	}
	source, err := m.dialSource(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = source.Close() }()
	return m.variant.dialect.startAtOwn(ctx, db, source)
}

// dialSource logs in to a source with the replica's account, which may ask for its position.
func (m *Manager) dialSource(req datastores.AttachRequest) (*sql.DB, error) {
	return m.dialServer(req.Address, req.Account.User, req.Account.Password, m.env.ServerTLS().VerifySource)
}

// dialServer logs in to another server of the project.
func (m *Manager) dialServer(address, user string, password datastores.Secret, secure bool) (*sql.DB, error) {
	return m.dialServerWith(address, user, password, secure, nil)
}

// dialServerWith opens a session with those variables.
func (m *Manager) dialServerWith(address, user string, password datastores.Secret, secure bool, params map[string]string) (*sql.DB, error) {
	c := mysql.NewConfig()
	c.Params = params
	c.User, c.Passwd = user, password.Reveal()
	c.Net, c.Addr = "tcp", net.JoinHostPort(address, strconv.Itoa(port))
	c.Timeout, c.ReadTimeout = pingTimeout, attachPatience
	c.Logger = &mysql.NopLogger{}
	if secure {
		var err error
		if c.TLS, err = m.env.ServerTLS().ToServer(address); err != nil {
			return nil, err
		}
	}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

func (m *Manager) detach(ctx context.Context) error {
	return m.turn(ctx, func(db *sql.DB) error {
		if err := m.forget(ctx, db); err != nil {
			return err
		}
		return m.takeWrites(ctx, db)
	})
}

// forget makes a replica follow nobody. From then on its events are its own.
func (m *Manager) forget(ctx context.Context, db *sql.DB) error {
	words := m.variant.dialect.words()
	if err := execute(ctx, db, words.stop); err != nil {
		return failed(err, "cannot stop following the source")
	}
	following, err := m.follows(ctx, db)
	if err != nil || following.source == "" {
		return err
	}
	if err := m.ownEvents(ctx); err != nil {
		return err
	}
	return failed(execute(ctx, db, words.forget), "cannot stop following the source")
}

func (m *Manager) waitFor(ctx context.Context, p datastores.Position) error {
	if p.ID == "" { // nothing was ever written
		return nil
	}
	return m.session(func(db *sql.DB) error {
		for {
			var result sql.NullInt64
			if err := db.QueryRowContext(ctx, m.variant.dialect.wait(p, 1)).Scan(&result); err != nil {
				return failed(err, "cannot wait for %s", p.ID)
			}
			if result.Valid && m.variant.dialect.reached(int(result.Int64)) {
				return nil
			}
			following, err := m.follows(ctx, db)
			if err != nil {
				return err
			}
			if following.source == "" || following.broken != "" {
				return datastores.Errorf(datastores.Conflict, "the server does not come to %s: it is no replica that runs: %s", p.ID, following.broken)
			}
		}
	})
}

// promote applies what was received before it opens the server.
func (m *Manager) promote(ctx context.Context, accounts []datastores.ReplicaAccount) error {
	if err := m.addAccounts(ctx, accounts); err != nil {
		return err
	}
	return m.turn(ctx, func(db *sql.DB) error {
		following, err := m.follows(ctx, db)
		if err != nil {
			return err
		}
		words := m.variant.dialect.words()
		if following.source != "" {
			if err := execute(ctx, db, words.stopReceiving); err != nil {
				return failed(err, "cannot stop following the source")
			}
			if err := execute(ctx, db, words.startApplying); err != nil { // a promotion that was cut may have stopped it
				return failed(err, "cannot apply what was received")
			}
			if err := m.drain(ctx, db); err != nil {
				_ = execute(context.WithoutCancel(ctx), db, words.start)
				return err
			}
			if err := m.keepsWord(ctx, db); err != nil {
				return err
			}
		}
		if err := m.forget(ctx, db); err != nil {
			return err
		}
		return m.takeWrites(ctx, db)
	})
}
