package couchbase

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/couchbase/couchbasetest"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/datastores/service"
)

func newEnv(t *testing.T) datastores.Env {
	env := datastoretest.NewEnvIn(t, datastoretest.InMemory())
	env.MemoryMB = 8192 // 30 buckets take 3000
	couchbasetest.Place(t, env.DataDir, env.Address)
	return env
}

// optionsOf are the options of a version, with the double's programs.
func optionsOf(t testing.TB, p couchbasetest.Programs, version string) []byte {
	t.Helper()
	o := defaultsOf(version)
	o.Program, o.ToolsDir = p.Server(version), p.Dir(version)
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestCouchbase runs the suite with the double.
func TestCouchbase(t *testing.T) {
	t.Parallel()
	t.Log("NOT TESTED with a Couchbase Server, of which there is none: the server here is a double, see couchbasetest")
	p := couchbasetest.Build(t)
	datastoretest.Run(t, harness(optionsOf(t, p, "8.0"), optionsOf(t, p, "7.6")))
}

func harness(newer, older []byte) datastoretest.Harness {
	return datastoretest.Harness{
		Plugin:  Plugin(),
		Options: newer,
		Older:   older,
		NewEnv:  newEnv,
		Connect: func(ctx context.Context, address, user, password, database string) error {
			return held{datastoretest.Login{Address: address, User: user, Password: password, Database: database}}.Ask(ctx)
		},
		Session: func(ctx context.Context, l datastoretest.Login) (datastoretest.Session, error) {
			s := held{l}
			return s, s.Ask(ctx)
		},
		Kinds:  kinds(),
		Write:  writeItems,
		Digest: digest,
		Dynamic: datastores.Values{
			"autoFailover.timeout": json.Number("44"), "autoCompaction.purgeInterval": json.Number("0.5"), "autoCompaction.parallelDBAndViewCompaction": true,
			"memcached.num_writer_threads": "8", memoryQuota: json.Number("5000"), "retryRebalance.maxAttempts": json.Number("2"),
		},
		Refused: []datastores.Values{{memoryQuota: json.Number("7000")}},
		Show: func(ctx context.Context, m datastores.Manager, parameter string) (string, error) {
			running, err := m.(*Manager).runningConfiguration(ctx)
			return running[parameter], err
		},
		Kill: kill,
		Exceptions: []datastoretest.Exception{
			{Test: "backup beside writes", Reason: "cbbackupmgr takes each vBucket as it is at its turn, and promises no moment for all of them"},
		},
	}
}

func kill(ctx context.Context, env datastores.Env) error {
	return datastoretest.KillServer(ctx, &service.Service{Name: "couchbase", Dir: env.Dir})
}

// held is a tenant's program, which says who it is with each question.
type held struct{ datastoretest.Login }

func (h held) Close() error { return nil }

// Ask asks for something that only a user of the database gets, or anybody who has logged in.
func (h held) Ask(ctx context.Context) error {
	if h.Database == "" {
		return h.call(ctx, "GET", "/whoami", nil, nil)
	}
	err := h.call(ctx, "GET", h.doc("nothing"), nil, nil)
	if errors.Is(err, errMissing) { // the document, or the bucket
		err = h.call(ctx, "GET", buckets+name(h.Database), nil, nil)
	}
	return err
}

func (h held) docs() string          { return buckets + name(h.Database) + "/docs" }
func (h held) doc(key string) string { return h.docs() + name(key) }

func (h held) put(ctx context.Context, key, value string) error {
	return h.call(ctx, "POST", h.doc(key), url.Values{"value": {value}}, nil)
}

func (h held) delete(ctx context.Context, key string) error {
	return h.call(ctx, "DELETE", h.doc(key), nil, nil)
}

// all are the documents of the bucket, by key.
func (h held) all(ctx context.Context) (map[string]string, error) {
	var list struct {
		Rows []struct {
			ID  string `json:"id"`
			Doc struct {
				JSON string `json:"json"`
			} `json:"doc"`
		} `json:"rows"`
	}
	err := h.call(ctx, "GET", h.docs(), nil, &list)
	docs := map[string]string{}
	for _, row := range list.Rows {
		docs[row.ID] = row.Doc.JSON
	}
	return docs, err
}

var errMissing = errors.New("404")

// call is one request of a client that is not the guest.
func (h held) call(ctx context.Context, method, path string, form url.Values, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, fmt.Sprintf("http://%s:%d%s", h.Address, restPort, path), strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	if h.User != "" || h.Password != "" {
		req.SetBasicAuth(h.User, h.Password)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode == http.StatusNotFound:
		return errMissing
	case resp.StatusCode/100 != 2:
		return fmt.Errorf("%s: %s", resp.Status, body)
	case out == nil:
		return nil
	}
	return json.Unmarshal(body, out)
}

func itemKey(n int) string { return fmt.Sprintf("item-%06d", n) }

func writeItems(ctx context.Context, l datastoretest.Login, from, to int) (int, error) {
	if l.Database == "" {
		return 0, errors.New("no database is named")
	}
	for i := from; i < to; i++ {
		if err := (held{l}).put(ctx, itemKey(i), datastoretest.Item(i)); err != nil {
			return i - from, err
		}
	}
	return to - from, nil
}

func digest(ctx context.Context, l datastoretest.Login) (items int, _ string, _ error) {
	docs, err := held{l}.all(ctx)
	if err != nil {
		return 0, "", err
	}
	b, err := json.Marshal(docs) // by key
	for key := range docs {
		if strings.HasPrefix(key, "item-") {
			items++
		}
	}
	sum := sha256.Sum256(b)
	return items, hex.EncodeToString(sum[:]), err
}
