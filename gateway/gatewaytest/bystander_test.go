package gatewaytest_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// bystander is an instance that nobody asks anything of while programs are killed around it, with a connection that must
// stay open all the time.
type bystander struct {
	store  datastore
	id     string
	number int64                                // of the connection, given by the server
	ask    func(context.Context) (int64, error) // for the number, over the connection
}

func (w *world) newBystander(t *testing.T, d datastore) *bystander {
	t.Helper()
	b := &bystander{store: d, id: w.tenant.create(t, "bystander-"+string(d), d, "")}
	w.instances = append(w.instances, b.id)
	address := w.Await(t, b.id, "ACTIVE", patience).Text("instance", "ip", 0)
	root := w.Want(t, http.StatusOK, http.MethodPost, gatewaytest.Instance(b.id)+"/root", "")
	name, password := root.Text("user", "name"), root.Text("user", "password")
	if d == redisStore {
		conn := openRedis(t, address, password).Conn()
		t.Cleanup(func() { _ = conn.Close() })
		b.ask = func(ctx context.Context) (int64, error) { return conn.ClientID(ctx).Result() }
	} else {
		conn, err := openMySQL(t, address, name, password, "").Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		b.ask = func(ctx context.Context) (number int64, err error) {
			return number, conn.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&number)
		}
	}
	var err error
	if b.number, err = b.ask(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

// check asks over the connection.
func (b *bystander) check(t *testing.T) {
	t.Helper()
	if number, err := b.ask(t.Context()); err != nil || number != b.number {
		t.Fatalf("the connection to the %s server that nobody touched is not the same any more: number %d, was %d, err %v", b.store, number, b.number, err)
	}
}
