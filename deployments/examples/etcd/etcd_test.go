package etcd

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/datastores/datastoretest/clustertest"
)

func newEnv(t *testing.T) datastores.Env {
	datastoretest.Require(t, DefaultOptions().Program, "etcd-server")
	return datastoretest.NewEnv(t)
}

func kill(ctx context.Context, env datastores.Env) error {
	m := New(env, DefaultOptions())
	s, err := m.load()
	if err != nil {
		return err
	}
	return datastoretest.KillServer(ctx, m.server(s, true))
}

// TestEtcd is Coffer's suite, of a server alone.
func TestEtcd(t *testing.T) {
	t.Parallel()
	datastoretest.Run(t, datastoretest.Harness{
		Plugin: Plugin(),
		NewEnv: newEnv,
		Connect: func(ctx context.Context, address, user, password, _ string) error {
			p := &program{at: []datastoretest.Login{{Address: address, User: user, Password: password}}}
			_, err := p.Missing(ctx, 0)
			return err
		},
		Kill: kill,
		Exceptions: []datastoretest.Exception{
			{Test: "process/sockets", Reason: "the members' port knows no accounts: hosts open it to the members alone, but not to their own programs"},
		},
	})
}

// TestCluster is Coffer's stage for clusters.
func TestCluster(t *testing.T) {
	t.Parallel()
	clustertest.Run(t, clustertest.Harness{
		Plugin: Plugin(),
		NewEnv: newEnv,
		Open: func(_ context.Context, at []datastoretest.Login) (clustertest.Client, error) {
			return &program{at: at}, nil
		},
		Kill: kill,
		Cut:  clustertest.CutBy(peerPort),
		Words: func(env datastores.Env) string {
			return New(env, DefaultOptions()).server(state{}, true).LastWords()
		},
	})
}

// program is a tenant's, which goes from member to member.
type program struct {
	at     []datastoretest.Login
	turn   int
	tokens map[string]string // of servers
}

// do asks the next member for something. It logs in when the member does not know it any more.
func (p *program) do(ctx context.Context, path string, in, out any) error {
	p.turn++
	l := p.at[p.turn%len(p.at)]
	c := at(l.Address)
	if token := p.tokens[l.Address]; token != "" {
		if err := c.callAs(ctx, token, path, in, out); !refused(err, "invalid auth token") {
			return err
		}
	}
	token, err := c.login(ctx, l.User, l.Password)
	if err != nil {
		return err
	}
	if p.tokens == nil {
		p.tokens = map[string]string{}
	}
	p.tokens[l.Address] = token
	return c.callAs(ctx, token, path, in, out)
}

func key(row int) []byte { return fmt.Append(nil, "row/", row) }

// Write implements [clustertest.Client].
func (p *program) Write(ctx context.Context, row int) error {
	return p.do(ctx, "kv/put", object{"key": key(row), "value": key(row)}, nil)
}

// Missing implements [clustertest.Client].
func (p *program) Missing(ctx context.Context, rows int) (missing []int, err error) {
	var answer struct{ Kvs []struct{ Key []byte } }
	if err := p.do(ctx, "kv/range", object{"key": []byte("row/"), "range_end": []byte("row0"), "keys_only": true}, &answer); err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, kv := range answer.Kvs {
		there[string(kv.Key)] = true
	}
	for row := range rows {
		if !there[string(key(row))] {
			missing = append(missing, row)
		}
	}
	return missing, nil
}

// Close implements [clustertest.Client].
func (p *program) Close() error { return nil }

// TestPasswords: what bcrypt would cut off is refused.
func TestPasswords(t *testing.T) {
	for password, want := range map[string]bool{"": false, "a": true, "a\nb": false, string(make([]byte, 73)): false} {
		_, err := New(datastores.Env{}, DefaultOptions()).EnableRoot(t.Context(), datastores.NewSecret(password))
		if told := new(datastores.Error); (errors.As(err, &told) && told.Kind == datastores.Invalid) == want {
			t.Errorf("%q: %v", password, err)
		}
	}
}
