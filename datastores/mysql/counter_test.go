package mysql

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/datastores/datastoretest/clustertest"
	"github.com/cofferdb/coffer/datastores/mysql/galera"
)

// TestCluster: three members that speak TLS to each other, and another one.
func TestCluster(t *testing.T) {
	t.Parallel()
	requireServer(t)
	options, err := json.Marshal(oldestOptions())
	must(t, err)
	ca := datastoretest.NewAuthority(t)
	clustertest.Run(t, clustertest.Harness{
		Plugin:  Plugin(),
		Options: options,
		NewEnv: func(t *testing.T) datastores.Env {
			env := newEnv(t)
			datastoretest.SpeakTLS(&env).Set(t, ca, datastores.TLSBasic, false)
			return env
		},
		Ready: makeCounted,
		Open:  func(_ context.Context, at []datastoretest.Login) (clustertest.Client, error) { return newCounter(at) },
		Kill:  func(ctx context.Context, env datastores.Env) error { return kill(ctx, New(env, oldestOptions())) },
		Words: func(env datastores.Env) string { return New(env, oldestOptions()).service.LastWords() },
		Cut:   clustertest.CutBy(galera.GroupPort),
	})
}

// TestGroup: the same of MySQL, by group replication.
func TestGroup(t *testing.T) {
	t.Parallel()
	if !datastoretest.InImageAlone(t, sid) {
		return
	}
	networks := datastoretest.NewNetworks(t)
	o := mysqlOptions(t, "9.7")
	o.Program = networks.Program(t, o.Program)
	options, err := json.Marshal(o)
	must(t, err)
	ca := datastoretest.NewAuthority(t)
	clustertest.Run(t, clustertest.Harness{
		Plugin:  Plugin(),
		Options: options,
		NewEnv: func(t *testing.T) datastores.Env {
			env := mysqlEnv(t)
			networks.Give(t, &env)
			datastoretest.SpeakTLS(&env).Set(t, ca, datastores.TLSBasic, false)
			return env
		},
		Ready: makeCounted,
		Open: func(_ context.Context, at []datastoretest.Login) (clustertest.Client, error) {
			c, err := newCounter(at)
			if err != nil {
				return nil, err
			}
			c.grouped = true
			return c, nil
		},
		Kill:  func(ctx context.Context, env datastores.Env) error { return kill(ctx, New(env, o)) },
		Words: func(env datastores.Env) string { return New(env, o).service.LastWords() },
		Cut:   networks.Cut,
	})
}

func makeCounted(ctx context.Context, root datastoretest.Login) error {
	db, err := dialCounter(root)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	return execute(ctx, db, "CREATE TABLE counted (n INT PRIMARY KEY)")
}

// counter is a client that goes from member to member.
type counter struct {
	at      []*sql.DB
	turn    int
	grouped bool // MySQL's
}

// inTime is within what a member that is asked answers, or another one is.
const inTime = 2 * time.Second

func dialCounter(l datastoretest.Login) (*sql.DB, error) {
	return open(l.Address, port, l.User, l.Password, l.Database, inTime)
}

func newCounter(at []datastoretest.Login) (*counter, error) {
	c := new(counter)
	for _, l := range at {
		db, err := dialCounter(l)
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.at = append(c.at, db)
	}
	return c, nil
}

// Write implements [clustertest.Client]. Members acknowledge what all have.
func (c *counter) Write(ctx context.Context, row int) error {
	c.turn++
	return execute(ctx, c.at[c.turn%len(c.at)], fmt.Sprintf("INSERT INTO counted VALUES (%d) ON DUPLICATE KEY UPDATE n = n", row))
}

// Missing implements [clustertest.Client].
func (c *counter) Missing(ctx context.Context, rows int) (missing []int, err error) {
	db := c.at[0]
	db.SetMaxOpenConns(1)
	wait := "SET SESSION wsrep_sync_wait = 1"
	if c.grouped { // what was acknowledged is at all members
		wait = "DO 1"
	}
	if err := execute(ctx, db, wait); err != nil {
		return nil, err
	}
	there := map[int]bool{}
	err = query(ctx, db, func(scan func(...any) error) error {
		var n int
		err := scan(&n)
		there[n] = true
		return err
	}, "SELECT n FROM counted")
	for row := range rows {
		if !there[row] {
			missing = append(missing, row)
		}
	}
	return missing, err
}

// Close implements [clustertest.Client].
func (c *counter) Close() (err error) {
	for _, db := range c.at {
		err = errors.Join(err, db.Close())
	}
	return err
}
