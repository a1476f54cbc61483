package gatewaytest_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestThirdParty does on a running Coffer what docs/datastores.md tells operators of a datastore that is not in this
// repository, command by command: a package is installed or a binary copied, two records are put, an instance is created, backed
// up and restored. Gateway and host are never started again.
func TestThirdParty(t *testing.T) {
	t.Parallel()
	datastoretest.Require(t, "/usr/bin/memcached", "memcached")
	datastoretest.Require(t, "/usr/bin/influxd", "influxdb")
	datastoretest.Require(t, "/usr/bin/etcd", "etcd-server")
	datastoretest.Require(t, "/usr/bin/etcdctl", "etcd-client")
	datastoretest.Require(t, "/usr/bin/dpkg", "dpkg")
	if runtime.GOARCH != "amd64" || os.Geteuid() != 0 {
		t.Skip("NOT TESTED: the commands of the page are root's, and for amd64")
	}
	p := programs(t)
	m := newMachine(t)
	o := &outsider{machine: m, system: m.path("system"), dir: t.TempDir()}
	o.pack(t)

	gateway, url := p.Run(t, "serving", "coffer-gateway", "-insecure-http", "-listen", m.address(1, 8779),
		"-data-dir", m.path("gateway"), "-tokens-file", gatewaytest.TokensFile(t))
	hostID := m.enrol(t, url)
	host, _ := p.Run(t, "", "coffer-host", append(m.hostArgs(p, url), "-guests", o.guests())...)
	o.member = gatewaytest.Client{URL: url, Token: gatewaytest.Member, Project: gatewaytest.Project}
	admin := o.member
	admin.Token = gatewaytest.Admin
	admin.AwaitHost(t, hostID)
	o.env = append(os.Environ(), "DPKG_ROOT="+o.system, "ETCDCTL_API=3", "ETCDCTL_ENDPOINTS="+gateway.Printed("etcd"),
		"COFFER_ETCD_ENDPOINTS="+gateway.Printed("etcd"), "COFFER_ENDPOINT="+url+"/v1.0/"+gatewaytest.Project, "COFFER_TOKEN="+gatewaytest.Admin, "PATH="+string(p)+":"+os.Getenv("PATH"))
	o.sh(t, `etcdctl put /server/flavors/1 '{"name":"tiny","ram":128,"vcpus":1,"disk":1}'`)

	for _, command := range operatorCommands(t) {
		out := o.sh(t, command)
		t.Logf("%s\n%s", command, out)
		o.after(t, command, out)
	}
	if o.logins != 3+2+2 {
		t.Errorf("the servers were used after %d commands, want 7", o.logins)
	}
	if gateway.Ended() || host.Ended() {
		t.Error("the gateway or the host has ended")
	}
}

// outsider is who has written a datastore, and a machine to install it on.
type outsider struct {
	*machine
	member   gatewaytest.Client
	system   string // stands in for "/" where packages go
	dir      string // where the commands are run
	env      []string
	address  string // of the instance
	password string // of its root
	logins   int
}

func (o *outsider) guests() string { return filepath.Join(o.system, "usr/lib/coffer/guests") }

// pack makes the Debian package in o.dir, of this module as it lies here, and an empty dpkg database below o.system.
func (o *outsider) pack(t *testing.T) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{o.guests(), filepath.Join(o.system, "var/lib/dpkg/info"), filepath.Join(o.system, "var/lib/dpkg/updates")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"status", "available"} {
		if err := os.WriteFile(filepath.Join(o.system, "var/lib/dpkg", file), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	o.env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=amd64", "GOFLAGS=-mod=mod -buildvcs=false", "GOWORK=off")
	o.sh(t, "cp -r "+root+"/deployments/examples/memcached/. .")
	o.sh(t, "go mod edit -replace github.com/cofferdb/coffer="+root)
	o.sh(t, "go build -trimpath -ldflags '-s -w' ./cmd/memcached-guest")
	o.sh(t, "go run github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.0 package -p deb -t .")
	o.sh(t, "mkdir -p coffer/bin")
	if err := os.Symlink(o.guests(), filepath.Join(o.dir, "coffer/bin/guests")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"influxdb", "etcd"} {
		o.sh(t, strings.NewReplacer("NAME", name, "ROOT", root).Replace("cp -r ROOT/deployments/examples/NAME coffer-NAME; cd coffer-NAME; "+
			"go mod edit -replace github.com/cofferdb/coffer=ROOT; go build -trimpath -ldflags '-s -w' ./cmd/NAME-guest; "+
			"./NAME-guest describe -format files -o definitions"))
	}
}

// sh runs a line of the page. Its paths of the system are below o.system. Its deadline ends what hangs: a build of all modules
// on two busy cores without a cache has taken more than three minutes.
func (o *outsider) sh(t *testing.T, line string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-ec", strings.ReplaceAll(line, "/usr/lib/coffer/", o.system+"/usr/lib/coffer/"))
	cmd.Dir, cmd.Env = o.dir, o.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// after checks what a command of the page must have done.
func (o *outsider) after(t *testing.T, command, out string) {
	t.Helper()
	switch {
	case strings.Contains(command, "instance create plant"):
		words := regexp.MustCompile(`password +(\S+)`).FindStringSubmatch(out)
		if words == nil {
			t.Fatalf("%s tells no password: %s", command, out)
		}
		o.password = words[1]
		o.influx(t, "plant", "/write?db=sensors", "heat value=42 1", http.StatusNoContent, "")
	case strings.Contains(command, "instance create again"):
		o.influx(t, "again", "/query?db=sensors&q=SELECT+*+FROM+heat", "", http.StatusOK, "42")
	case strings.Contains(command, " list again"):
		if !strings.Contains(out, "sensors") && !strings.Contains(out, "ann") {
			t.Errorf("it is not as it was backed up: %s", out)
		}
	case strings.HasSuffix(command, " again"), strings.HasSuffix(command, " again --wait"):
	case strings.Contains(command, "cluster create"):
		words := regexp.MustCompile(`password +(\S+)`).FindStringSubmatch(out)
		if words == nil {
			t.Fatalf("%s tells no password: %s", command, out)
		}
		o.password = words[1]
		o.etcd(t, 3)
	case strings.Contains(command, "cluster shrink"):
		o.etcd(t, 3)
	case strings.HasPrefix(command, "dpkg "):
		if _, err := os.Stat(filepath.Join(o.guests(), "memcached-guest")); err != nil {
			t.Error(err)
		}
	case strings.Contains(command, "definitions problems"):
		if strings.Contains(out, "memcached") {
			t.Errorf("the definition has problems: %s", out)
		}
	case strings.Contains(command, "datastore list"):
		if !strings.Contains(out, "memcached") {
			t.Errorf("it is not offered: %s", out)
		}
	case strings.Contains(command, "instance create"), strings.Contains(command, "root enable"):
		words := regexp.MustCompile(`password +(\S+)`).FindStringSubmatch(out)
		if words == nil {
			t.Fatalf("%s tells no password: %s", command, out)
		}
		o.password = words[1]
		o.use(t)
	case strings.Contains(command, "instance restart"):
		o.use(t)
	}
}

// use stores something in the memcached of the only instance, and reads it.
func (o *outsider) use(t *testing.T) {
	t.Helper()
	if o.address == "" {
		a := o.member.Want(t, 200, "GET", "/instances", "")
		o.instances = append(o.instances, a.Text("instances", 0, "id"))
		o.address = a.Text("instances", 0, "ip", 0)
	}
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(o.address, "11211"), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	login := "root " + o.password
	r := bufio.NewReader(conn)
	for _, call := range []struct{ send, want string }{
		{fmt.Sprintf("set x 0 0 %d\r\n%s\r\n", len(login), login), "STORED\r\n"},
		{"set k 0 0 1\r\nv\r\n", "STORED\r\n"},
		{"get k\r\n", "VALUE k 0 1\r\n"},
	} {
		if _, err := io.WriteString(conn, call.send); err != nil {
			t.Fatal(err)
		}
		if got, err := r.ReadString('\n'); err != nil || got != call.want {
			t.Fatalf("memcached says %q, %v, want %q", got, err, call.want)
		}
	}
	o.logins++
}

// influx asks the InfluxDB of an instance as ann.
func (o *outsider) influx(t *testing.T, instance, path, body string, status int, says string) {
	t.Helper()
	list := o.member.Want(t, 200, "GET", "/instances", "")
	all, _ := list.At("instances").([]any)
	for n := range all {
		if list.Text("instances", n, "name") != instance {
			continue
		}
		o.instances = append(o.instances, list.Text("instances", n, "id"))
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+net.JoinHostPort(list.Text("instances", n, "ip", 0), "8086")+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("ann", o.password)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != status || !strings.Contains(string(text), says) {
			t.Errorf("%s of %s: %s, %s, %v", path, instance, resp.Status, text, err)
		}
		o.logins++
		return
	}
	t.Fatalf("there is no instance %s", instance)
}

// etcd has every member of the only cluster say what the first of them is told.
func (o *outsider) etcd(t *testing.T, members int) {
	t.Helper()
	list := o.member.Want(t, 200, "GET", "/instances?include_clustered=true", "")
	all, _ := list.At("instances").([]any)
	var at []string
	for n := range all {
		if strings.HasPrefix(list.Text("instances", n, "name"), "keys-") {
			at = append(at, net.JoinHostPort(list.Text("instances", n, "ip", 0), "2379"))
			o.instances = append(o.instances, list.Text("instances", n, "id"))
		}
	}
	if len(at) != members {
		t.Fatalf("the cluster has members at %v, want %d", at, members)
	}
	as := " etcdctl --user admin:" + o.password
	o.sh(t, "ETCDCTL_ENDPOINTS="+at[0]+as+" put key value")
	for _, one := range at {
		if out := o.sh(t, "ETCDCTL_ENDPOINTS="+one+as+" get key"); out != "key\nvalue\n" {
			t.Errorf("%s says %q", one, out)
		}
	}
	o.logins++
}

// operatorCommands are the lines of the page's blocks that are marked as the operator's.
func operatorCommands(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../../docs/datastores.md")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, block := range regexp.MustCompile("(?s)<!-- operator -->\n```sh\n(.*?)```\n").FindAllStringSubmatch(string(page), -1) {
		lines = append(lines, strings.Split(strings.TrimSpace(block[1]), "\n")...)
	}
	if len(lines) < 5 {
		t.Fatalf("the page has %d commands for operators", len(lines))
	}
	return lines
}
