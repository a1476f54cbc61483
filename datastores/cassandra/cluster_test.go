package cassandra

import (
	"context"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/datastores/datastoretest/clustertest"
)

// quickly are options of Java for members in tests: who comes, goes or is away is known sooner.
func quickly() []string {
	return []string{"-Dcassandra.ring_delay_ms=3000", "-Dcassandra.shutdown_announce_in_ms=500"}
}

// TestCluster: three members, another one, and then three again, of which one is lost.
func TestCluster(t *testing.T) {
	t.Parallel()
	ca := datastoretest.NewAuthority(t)
	o := optionsOf(t, "5.0")
	o.JavaOptions = append(o.JavaOptions, quickly()...)
	clustertest.Run(t, clustertest.Harness{
		Plugin:  Plugin(),
		Options: jsonOf(t, o),
		NewEnv: func(t *testing.T) datastores.Env {
			env := newEnv(t)
			datastoretest.SpeakTLS(&env).Set(t, ca, datastores.TLSBasic, false)
			return env
		},
		Ready: func(ctx context.Context, root datastoretest.Login) error {
			return asTenant(ctx, root, func(s *session) error { return s.exec(ctx, "CREATE TABLE "+counted(root)+" (n int PRIMARY KEY)") })
		},
		Open: func(ctx context.Context, at []datastoretest.Login) (clustertest.Client, error) {
			return newCounter(at), nil
		},
		Kill: kill,
		Words: func(env datastores.Env) string {
			return New(env, o).service.LastWords()
		},
		Cut: clustertest.CutBy(storagePort),
	})
}

func counted(l datastoretest.Login) string { return name(l.Database) + ".counted" }

// counter is a client that goes from member to member, and asks for a majority.
type counter struct {
	at   []datastoretest.Login
	turn int
	of   map[string]*session
}

func newCounter(at []datastoretest.Login) *counter {
	return &counter{at: at, of: map[string]*session{}}
}

func (c *counter) session(ctx context.Context, l datastoretest.Login) (*session, error) {
	if s := c.of[l.Address]; s != nil {
		return s, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	s, err := tenant(ctx, l)
	if err == nil {
		c.of[l.Address] = s
	}
	return s, err
}

// Write implements [clustertest.Client].
func (c *counter) Write(ctx context.Context, row int) error {
	c.turn++
	l := c.at[c.turn%len(c.at)]
	s, err := c.session(ctx, l)
	if err != nil {
		return err
	}
	if err = s.Query(fmt.Sprintf("INSERT INTO %s (n) VALUES (%d)", counted(l), row)).Consistency(gocql.Quorum).ExecContext(ctx); err != nil {
		s.Close()
		delete(c.of, l.Address)
	}
	return err
}

// Missing implements [clustertest.Client].
func (c *counter) Missing(ctx context.Context, rows int) (missing []int, err error) {
	s, err := c.session(ctx, c.at[0])
	if err != nil {
		return nil, err
	}
	there := map[int]bool{}
	n := 0
	all := s.Query("SELECT n FROM " + counted(c.at[0])).Consistency(gocql.Quorum).IterContext(ctx)
	for all.Scan(&n) {
		there[n] = true
	}
	for row := range rows {
		if !there[row] {
			missing = append(missing, row)
		}
	}
	return missing, all.Close()
}

// Close implements [clustertest.Client].
func (c *counter) Close() error {
	for _, s := range c.of {
		s.Close()
	}
	return nil
}

func TestTokensAreEven(t *testing.T) {
	for _, members := range []int{1, 3, 12} {
		seen := map[string]bool{}
		for place := range members {
			for _, token := range evenly(place, members) {
				n, ok := new(big.Int).SetString(token, 10)
				if !ok || !n.IsInt64() || seen[token] {
					t.Errorf("member %d of %d begins at %s", place, members, token)
				}
				seen[token] = true
			}
		}
	}
	if got := evenly(1, 2)[0]; got != "-8646911284551352320" {
		t.Errorf("the second of two begins at %s", got)
	}
}

func TestMemberKeepsItsVersion(t *testing.T) {
	o := DefaultOptions()
	m := New(newEnv(t), o)
	must(t, m.saveMember(&member{Ring: "r", Standing: inside}))
	older, _ := findVariant("4.1")
	wantKind(t, m.Upgrade(t.Context(), datastores.UpgradeRequest{From: jsonOf(t, defaultsOf(older)), Progress: func(string) {}}), datastores.Invalid)
}
