package couchbasetest_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores/couchbase/couchbasetest"
)

// double is a running one.
type double struct {
	cmd     *exec.Cmd
	dir     string
	address string
	out     bytes.Buffer
}

func place(t *testing.T) *double {
	t.Helper()
	b := make([]byte, 3)
	_, _ = rand.Read(b)
	d := &double{dir: t.TempDir(), address: fmt.Sprintf("127.%d.%d.%d", b[0], b[1], 1+b[2]%254)}
	couchbasetest.Place(t, d.dir, d.address)
	for _, name := range []string{"config", "data", "logs"} {
		if err := os.MkdirAll(filepath.Join(d.dir, "lib/couchbase", name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func (d *double) start(t *testing.T, program string) {
	t.Helper()
	d.cmd = exec.Command(program, "--", "-noinput")
	d.cmd.Dir, d.cmd.Stdout, d.cmd.Stderr = d.dir, &d.out, &d.out
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.kill)
	until.True(t, time.Minute, "the double answers", func() bool {
		status, _ := d.ask(t, "", "GET", "/pools", nil)
		return status == http.StatusOK
	})
}

func (d *double) kill() {
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait()
}

// ask asks as a user, whose password is the name with six letters after it; "" is nobody. A status of 0 is no answer.
func (d *double) ask(t *testing.T, user, method, path string, form url.Values) (status int, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+d.address+":8091"+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		req.SetBasicAuth(user, password(user))
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

func password(user string) string { return user + "-secret" }

// want checks the status of an answer, and what it says.
func (d *double) want(t *testing.T, what string, status int, says, user, method, path string, form url.Values) {
	t.Helper()
	if got, body := d.ask(t, user, method, path, form); got != status || !strings.Contains(body, says) {
		t.Errorf("%s: %d %s; want %d, and %q in it", what, got, body, status, says)
	}
}

const (
	admin   = "Administrator"
	buckets = "/pools/default/buckets"
	user    = "/settings/rbac/users/local/"
)

func (d *double) form() url.Values {
	return url.Values{"hostname": {d.address}, "username": {admin}, "password": {password(admin)}, "port": {"SAME"}, "services": {"kv"}, "memoryQuota": {"512"}}
}

func (d *double) provision(t *testing.T) {
	t.Helper()
	d.want(t, "provision", 200, "newBaseUri", "", "POST", "/clusterInit", d.form())
}

func (d *double) bucket(t *testing.T, name, durability string) {
	t.Helper()
	d.want(t, "create bucket", 202, "", admin, "POST", buckets, url.Values{"name": {name}, "ramQuota": {"100"}, "replicaNumber": {"0"}, "durabilityMinLevel": {durability}})
}

func doc(bucket, key string) string { return buckets + "/" + bucket + "/docs/" + key }

func value(v string) url.Values { return url.Values{"value": {v}} }

// TestProvisioning: a node asks nobody for a password before it is provisioned, and everybody after it; half a request does nothing.
func TestProvisioning(t *testing.T) {
	p := couchbasetest.Build(t)
	d := place(t)
	d.start(t, p.Server("7.6"))
	d.want(t, "a pool that is not there", 404, "unknown pool", admin, "GET", "/pools/default", nil)
	for what, change := range map[string]url.Values{
		"another host": {"hostname": {"127.0.0.1"}}, "no password": {"password": {""}}, "no port": {"port": {""}}, "an unknown service": {"services": {"kv,mail"}},
		"too little memory": {"memoryQuota": {"100"}}, "an unknown parameter": {"memory": {"1"}},
	} {
		form := d.form()
		for name, v := range change {
			form[name] = v
		}
		d.want(t, what, 400, "", "", "POST", "/clusterInit", form)
	}
	d.want(t, "before it is provisioned", 200, `"pools":[]`, "", "GET", "/pools", nil)
	d.provision(t)
	d.want(t, "somebody else provisions it", 401, "", "", "POST", "/clusterInit", d.form())
	d.want(t, "nobody looks", 401, "", "", "GET", "/pools/default", nil)
	d.want(t, "a wrong password", 401, "", "root", "GET", "/pools/default", nil)
	d.want(t, "the administrator looks", 200, `"clusterMembership":"active"`, admin, "GET", "/pools/default", nil)
	d.kill()
	d.start(t, p.Server("8.0"))
	d.want(t, "it is provisioned after a restart", 200, "active", admin, "GET", "/pools/default", nil)
	d.kill()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.Server("7.6"), "--", "-noinput")
	cmd.Dir = d.dir
	if out, err := cmd.CombinedOutput(); err == nil || ctx.Err() != nil {
		t.Errorf("7.6 starts with the data of 8.0: %s", out)
	}
}

// TestAuthorization: the double lets nobody do what Couchbase's documents do not let him do.
func TestAuthorization(t *testing.T) {
	d := place(t)
	d.start(t, couchbasetest.Build(t).Server("7.6"))
	d.provision(t)
	d.bucket(t, "shop", "none")
	d.bucket(t, "blog", "none")
	make := func(name, roles string) {
		d.want(t, "make "+name, 200, "", admin, "PUT", user+name, url.Values{"password": {password(name)}, "roles": {roles}})
	}
	make("ann", "bucket_full_access[shop]")
	make("all", "bucket_full_access[*],ro_admin")
	make("none", "")
	d.want(t, "ann writes", 200, "", "ann", "POST", doc("shop", "a"), value("1"))
	d.want(t, "ann reads", 200, `"json":"1"`, "ann", "GET", doc("shop", "a"), nil)
	d.want(t, "ann writes elsewhere", 403, "", "ann", "POST", doc("blog", "a"), value("1"))
	d.want(t, "ann makes a bucket", 403, "", "ann", "POST", buckets, url.Values{"name": {"x"}, "ramQuota": {"100"}})
	d.want(t, "ann makes a user", 403, "", "ann", "PUT", user+"eve", url.Values{"password": {"secret"}, "roles": {"admin"}})
	d.want(t, "ann looks at the cluster", 403, "", "ann", "GET", "/pools/default", nil)
	d.want(t, "all writes", 200, "", "all", "POST", doc("blog", "a"), value("1"))
	d.want(t, "all looks", 200, "", "all", "GET", "/pools/default", nil)
	d.want(t, "all sets something", 403, "", "all", "POST", "/settings/rebalance", url.Values{"rebalanceMovesPerNode": {"9"}})
	d.want(t, "all takes users away", 403, "", "all", "GET", "/settings/rbac/backup", nil)
	d.want(t, "none reads", 403, "", "none", "GET", doc("shop", "a"), nil)
	d.want(t, "none asks who he is", 200, "none", "none", "GET", "/whoami", nil)
	d.want(t, "nobody reads", 401, "", "", "GET", doc("shop", "a"), nil)
	d.want(t, "a role on what is not there", 400, "bucket_full_access[gone]", admin, "PUT", user+"bob", url.Values{"password": {"secret"}, "roles": {"bucket_full_access[gone]"}})
	d.want(t, "a role that the double does not know", 400, "", admin, "PUT", user+"bob", url.Values{"password": {"secret"}, "roles": {"data_reader[shop]"}})
	d.want(t, "a short password", 400, "at least 6", admin, "PUT", user+"bob", url.Values{"password": {"x"}, "roles": {""}})
	d.want(t, "a name with a character that is forbidden", 400, "", admin, "PUT", user+"b%3Bob", url.Values{"password": {"secret"}, "roles": {""}})

	d.want(t, "roles alone", 200, "", admin, "PUT", user+"ann", url.Values{"roles": {"bucket_full_access[blog]"}})
	d.want(t, "ann in her new bucket, by her old password", 200, "", "ann", "POST", doc("blog", "b"), value("1"))
	d.want(t, "ann in her old one", 403, "", "ann", "GET", doc("shop", "a"), nil)
	d.want(t, "a new password", 200, "", admin, "PATCH", user+"ann", url.Values{"password": {"another"}})
	d.want(t, "the old password", 401, "", "ann", "GET", "/whoami", nil)
}

// TestBuckets: what the documents refuse the double does not take.
func TestBuckets(t *testing.T) {
	d := place(t)
	d.start(t, couchbasetest.Build(t).Server("7.6"))
	d.provision(t)
	d.bucket(t, "shop", "none")
	for what, c := range map[string]struct {
		says string
		form url.Values
	}{
		"a name that is there":         {"already exists", url.Values{"name": {"Shop"}, "ramQuota": {"100"}}},
		"a name with a blank":          {"can only contain", url.Values{"name": {"a b"}, "ramQuota": {"100"}}},
		"no name":                      {"needs to be specified", url.Values{"ramQuota": {"100"}}},
		"no memory":                    {"must be specified", url.Values{"name": {"a"}}},
		"too little memory":            {"cannot be less than 100 MiB", url.Values{"name": {"a"}, "ramQuota": {"99"}}},
		"more memory than is left":     {"too large", url.Values{"name": {"a"}, "ramQuota": {"500"}}},
		"more replicas than there are": {"larger than 3", url.Values{"name": {"a"}, "ramQuota": {"100"}, "replicaNumber": {"4"}}},
		"an unknown durability":        {"invalid", url.Values{"name": {"a"}, "ramQuota": {"100"}, "durabilityMinLevel": {"all"}}},
		"an unknown parameter":         {"Unsupported", url.Values{"name": {"a"}, "ramQuota": {"100"}, "colour": {"red"}}},
	} {
		d.want(t, what, 400, c.says, admin, "POST", buckets, c.form)
	}
	d.bucket(t, "blog", "none")
	d.bucket(t, "wiki", "none")
	d.want(t, "less memory than buckets have", 400, "cannot be less", admin, "POST", "/pools/default", url.Values{"memoryQuota": {"256"}})
	d.want(t, "the settings of threads", 400, "range from 1 to 64", admin, "POST", "/pools/default/settings/memcached/global", url.Values{"num_reader_threads": {"65"}})
	d.want(t, "auto-failover without a timeout", 400, "must be supplied", admin, "POST", "/settings/autoFailover", url.Values{"enabled": {"true"}})
	d.want(t, "delete", 200, "", admin, "DELETE", buckets+"/shop", nil)
	d.want(t, "delete again", 404, "", admin, "DELETE", buckets+"/shop", nil)
}

// TestDurability: what was acknowledged is there after SIGKILL when the bucket persists it first, each time, and else it is not.
func TestDurability(t *testing.T) {
	program := couchbasetest.Build(t).Server("7.6")
	d := place(t)
	d.start(t, program)
	d.provision(t)
	d.bucket(t, "kept", "persistToMajority")
	d.bucket(t, "lost", "none")
	for n := range 5 {
		key := fmt.Sprint(n)
		for _, bucket := range []string{"kept", "lost"} {
			d.want(t, "write", 200, "", admin, "POST", doc(bucket, key), value(key))
		}
		d.kill()
		d.start(t, program)
		for i := range n + 1 {
			d.want(t, "what was persisted", 200, fmt.Sprint(i), admin, "GET", doc("kept", fmt.Sprint(i)), nil)
		}
		d.want(t, "what was in memory alone", 404, "", admin, "GET", doc("lost", key), nil)
	}
}
