package deployments

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// TestDebianPackages installs what `task deb` builds into Debian 13, as an operator does, upgrades it and takes it away. systemd does
// not run there: what it would say of the units is asked of systemd-analyze.
func TestDebianPackages(t *testing.T) {
	debs := os.Getenv(debsVariable)
	if debs == "" {
		datastoretest.Require(t, "/usr/bin/systemd-analyze", "systemd")
		debs = t.TempDir()
		t.Setenv(debsVariable, debs)
		buildPackages(t, debs)
	}
	t.Run("installed", func(t *testing.T) { installPackages(t, debs) })
	t.Run("machines", func(t *testing.T) { onMachines(t, debs) })
}

// debsVariable names the directory of the packages for parts of the test that run elsewhere.
const debsVariable = "COFFER_TEST_DEBS"

func installPackages(t *testing.T, debs string) {
	if !datastoretest.InImage(t, "debian-13") {
		return
	}
	run := func(command string) string {
		t.Helper()
		out, err := exec.Command("sh", "-ec", command).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	// What they depend on is held against Debian's names elsewhere: here is no network.
	install := "dpkg --force-depends --force-confold -i " + debs + "/"
	run(install + "1/*.deb")
	for command, want := range map[string]string{
		"getent passwd coffer | cut -d: -f6,7":                                      "/var/lib/coffer:/usr/sbin/nologin",
		"ls /usr/lib/coffer/guests":                                                 "cassandra-guest\ncouchbase-guest\nmongodb-guest\nmysql-guest\npostgresql-guest\nredis-guest",
		"stat -c '%a %U' /usr/lib/coffer/guests/redis-guest":                        "755 root",
		"stat -c '%a %U' /etc/default/coffer-host /etc/default/coffer-gateway":      "640 root\n640 root",
		"dpkg-query -W -f '${Conffiles}' coffer-host | cut -d' ' -f2":               "/etc/default/coffer-host",
		"ls /usr/share/coffer/definitions":                                          "README.md\nguest\nput.sh\nserver",
		"/usr/lib/coffer/guests/redis-guest describe | grep -q manager && echo yes": "yes",
	} {
		if got := run(command); got != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
	for _, program := range []string{"coffer version", "coffer-gateway -help 2>&1", "coffer-host -h 2>&1"} {
		run(program + " | grep -q .")
	}
	run("echo 'COFFER_HOST_LABEL=rack=7' >>/etc/default/coffer-host")
	run(install + "2/coffer-host_*.deb")
	if got := run("dpkg-query -W -f '${Version}' coffer-host; tail -n 1 /etc/default/coffer-host"); got != "0.0.2COFFER_HOST_LABEL=rack=7" {
		t.Errorf("after an upgrade: %q", got)
	}
	run("dpkg -r coffer-gateway coffer-host coffer coffer-guest-redis coffer-guest-mongodb coffer-guest-couchbase coffer-guest-cassandra coffer-guest-mysql coffer-guest-postgresql")
	run("test ! -e /usr/bin/coffer-host && test ! -e /usr/lib/coffer/guests && test -e /etc/default/coffer-host")
	run("dpkg -P coffer-host coffer-gateway && test ! -e /etc/default/coffer-host")
}

// buildPackages builds a version of all below dir/1, and a later one below dir/2, and asks systemd of the units in them.
func buildPackages(t *testing.T, dir string) {
	t.Helper()
	run := func(env []string, argv ...string) {
		t.Helper()
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Dir, cmd.Env = "..", append(os.Environ(), env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", argv, err, out)
		}
	}
	bin := t.TempDir()
	static := []string{"CGO_ENABLED=0", "BIN=" + bin}
	run(static, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin+"/", "./gateway/cmd/coffer", "./gateway/cmd/coffer-gateway", "./deployments/cmd/coffer-host")
	run(static, "go", "build", "-trimpath", "-tags", "nethttpomithttp2", "-ldflags", "-s -w", "-o", bin+"/guests/", "./datastores/redis/cmd/redis-guest", "./datastores/mongodb/cmd/mongodb-guest", "./datastores/couchbase/cmd/couchbase-guest", "./datastores/cassandra/cmd/cassandra-guest", "./datastores/mysql/cmd/mysql-guest", "./datastores/postgresql/cmd/postgresql-guest")
	root := t.TempDir()
	run(nil, "mkdir", "-p", root+"/usr/lib/systemd")
	run(nil, "cp", "-r", "/usr/lib/systemd/system", root+"/usr/lib/systemd/") // what they come after
	run(nil, "cp", "deployments/etcd-rbac/roles.sh", dir)
	run(static, "deployments/debian/build.sh", "0.0.1", filepath.Join(dir, "1"))
	// What follows the program in its file makes it another for who looks.
	run(nil, "sh", "-ec", `for program in "$0"/coffer* "$0"/guests/*; do echo 0.0.2 >>"$program"; done`, bin)
	run(static, "deployments/debian/build.sh", "0.0.2", filepath.Join(dir, "2"))
	for _, p := range []string{"coffer-gateway", "coffer-host"} {
		packages, err := filepath.Glob(filepath.Join(dir, "1", p+"_*.deb"))
		if err != nil || len(packages) != 1 {
			t.Fatalf("packages %v, %v", packages, err)
		}
		run(nil, "dpkg-deb", "-x", packages[0], root)
		run(nil, "systemd-analyze", "verify", "--man=no", "--root="+root, p+".service")
	}
}
