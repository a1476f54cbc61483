package gateway_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/cofferdb/coffer/"

// listed is what `go list -json` tells of a package.
type listed struct {
	ImportPath string
	Standard   bool
	Doc        string
	Imports    []string
	Deps       []string
}

func goList(t *testing.T, patterns ...string) map[string]listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Standard,Doc,Imports,Deps"}, patterns...)...)
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
	all := map[string]listed{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
	}
}

// below reports whether path is one of the packages, or lies under one that ends in "/...".
func below(path string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if tree, ok := strings.CutSuffix(p, "/..."); ok {
			return path == tree || strings.HasPrefix(path, tree+"/")
		}
		return path == p
	})
}

// TestWhoMayImportWhom holds every package against the design: what it may import beside the standard library. Paths
// without a dot in their first part are this module's.
func TestWhoMayImportWhom(t *testing.T) {
	engines := []string{"datastores/redis", "datastores/mongodb", "datastores/mysql", "datastores/postgresql", "datastores/cassandra", "datastores/couchbase"}
	engine := []string{"datastores", "datastores/modules", "datastores/service", "datastores/configfile", "datastores/volume"}
	rules := map[string][]string{
		"agentpoll":                            {},
		"agentpoll/agent":                      {"agentpoll"},
		"agentpoll/rate":                       {},
		"agentpoll/server":                     {"agentpoll", "agentpoll/rate", "golang.org/x/sys/unix"},
		"agentpoll/agentpolltest":              {"agentpoll", "agentpoll/server"},
		"agentpoll/agentpolltest/until":        {},
		"datastores":                           {},
		"datastores/volume":                    {"datastores"},
		"datastores/service":                   {"datastores", "datastores/volume", "golang.org/x/sys/unix"},
		"datastores/configfile":                {},
		"datastores/modules":                   {"datastores", "datastores/volume"},
		"datastores/wire":                      {"agentpoll", "datastores"},
		"datastores/guest/stream":              {"datastores", "github.com/klauspost/compress/zstd"},
		"datastores/guest":                     {"datastores/guest/stream", "agentpoll", "agentpoll/agent", "datastores", "datastores/service", "datastores/volume", "datastores/wire", "golang.org/x/sys/unix"},
		"datastores/datastoretest":             {"agentpoll/agentpolltest/until", "datastores", "datastores/modules", "datastores/service", "datastores/volume"},
		"datastores/redis":                     append([]string{"golang.org/x/sys/unix"}, engine...),
		"datastores/mysql":                     append([]string{"datastores/mysql/galera", "datastores/mysql/group", "github.com/go-sql-driver/mysql"}, engine...),
		"datastores/mysql/galera":              {"datastores", "datastores/configfile"},
		"datastores/mysql/group":               {"datastores", "datastores/configfile", "github.com/go-sql-driver/mysql"},
		"datastores/postgresql":                append([]string{"github.com/jackc/pgx/v5/..."}, engine...),
		"datastores/cassandra":                 append([]string{"github.com/apache/cassandra-gocql-driver/v2", "golang.org/x/crypto/bcrypt"}, engine...),
		"datastores/cassandra/cmd/...":         {"datastores/cassandra", "datastores/guest"},
		"datastores/couchbase":                 engine,
		"datastores/couchbase/cmd/...":         {"datastores/couchbase", "datastores/guest"},
		"datastores/mongodb":                   append([]string{"datastores/mongodb/opmsg", "go.mongodb.org/mongo-driver/v2/bson"}, engine...),
		"datastores/mongodb/opmsg":             {"go.mongodb.org/mongo-driver/v2/bson"},
		"datastores/mongodb/cmd/...":           {"datastores/mongodb", "datastores/guest"},
		"datastores/datastoretest/clustertest": {"agentpoll/agentpolltest/until", "datastores", "datastores/datastoretest", "datastores/service"},
		"datastores/datastoretest/inmemory":    {"datastores", "datastores/datastoretest", "datastores/modules"},
		// The doubles: programs of tests.
		"datastores/couchbase/couchbasetest":         {"datastores/couchbase/couchbasetest/double", "datastores/datastoretest"},
		"datastores/couchbase/couchbasetest/double":  {},
		"datastores/couchbase/couchbasetest/cmd/...": {"datastores/couchbase/couchbasetest/double"},
		"datastores/mongodb/mongodbtest":             {"datastores/datastoretest"},
		"datastores/mongodb/mongodbtest/double":      {"datastores/mongodb/opmsg", "go.mongodb.org/mongo-driver/v2/bson", "github.com/goccy/go-yaml", "github.com/xdg-go/scram"},
		"datastores/mongodb/mongodbtest/cmd/...":     {"datastores/mongodb/mongodbtest/double"},
		"datastores/postgresql/cmd/...":              {"datastores/postgresql", "datastores/guest"},
		"datastores/redis/cmd/...":                   {"datastores/redis", "datastores/guest"},
		"datastores/mysql/cmd/...":                   {"datastores/mysql", "datastores/guest"},
		"deployments":                                {"datastores"},
		"deployments/host":                           {"agentpoll", "agentpoll/agent", "datastores", "datastores/service", "datastores/volume", "datastores/wire", "deployments", "deployments/host/sandbox", "github.com/google/nftables/...", "golang.org/x/sys/unix"},
		"deployments/host/sandbox":                   {"datastores/service", "datastores/volume", "github.com/moby/profiles/seccomp", "github.com/opencontainers/runtime-spec/specs-go"},
		"deployments/cmd/...":                        {"deployments/host"},
		"etcdschema/strict":                          {"datastores", "github.com/hashicorp/go-multierror", "github.com/goccy/go-yaml/..."},
		"etcdschema":                                 {"agentpoll", "datastores", "deployments", "etcdschema/strict", "go.etcd.io/etcd/...", "github.com/google/uuid", "github.com/hashicorp/go-multierror", "go.uber.org/zap/...", "google.golang.org/grpc/..."},
		"etcdschema/embedded":                        {"go.etcd.io/etcd/...", "go.uber.org/zap/...", "golang.org/x/sys/unix"},
		"etcdschema/etcdtest":                        {"etcdschema", "etcdschema/embedded", "go.etcd.io/etcd/...", "go.uber.org/zap"},
		"gateway":                                    {"agentpoll", "agentpoll/server", "etcdschema", "gateway/agents", "gateway/api", "gateway/audit", "gateway/authority", "gateway/blobstore", "gateway/control", "gateway/drills", "gateway/due", "gateway/identity", "gateway/keyring", "gateway/limits", "gateway/maintenance", "gateway/modules", "gateway/objectives", "gateway/pitr", "gateway/plan", "gateway/schedules", "gateway/segments", "gateway/takeover", "gateway/transfer", "gateway/verify", "github.com/goccy/go-yaml", "github.com/prometheus/client_golang/..."},
		"gateway/api":                                {"agentpoll", "datastores", "deployments", "etcdschema", "gateway/audit", "gateway/blobstore", "gateway/control", "gateway/drills", "gateway/fault", "gateway/identity", "gateway/lifecycle", "gateway/limits", "gateway/maintenance", "gateway/modules", "gateway/objectives", "gateway/pitr", "gateway/schedules", "gateway/segments", "gateway/transfer", "gateway/verify", "github.com/labstack/echo/v4", "github.com/google/uuid"},
		"gateway/agents":                             {"agentpoll", "agentpoll/server", "datastores", "deployments", "etcdschema", "gateway/authority", "gateway/blobstore", "gateway/control", "gateway/fault", "gateway/lifecycle", "gateway/limits", "gateway/plan", "gateway/segments"},
		"gateway/control":                            {"agentpoll", "datastores", "deployments", "etcdschema", "gateway/authority", "gateway/blobstore", "gateway/due", "gateway/fault", "gateway/identity", "gateway/keyring", "gateway/lifecycle", "gateway/limits", "gateway/plan", "gateway/segments"},
		"gateway/plan":                               {"agentpoll", "datastores", "deployments", "etcdschema", "gateway/fault", "gateway/keyring", "gateway/lifecycle", "gateway/limits", "github.com/google/uuid"},
		"gateway/audit":                              {"agentpoll", "etcdschema", "gateway/control", "gateway/fault", "gateway/plan"},
		"gateway/due":                                {"etcdschema"},
		"gateway/drills":                             {"agentpoll", "datastores", "etcdschema", "gateway/control", "gateway/due", "gateway/fault", "gateway/identity", "gateway/lifecycle", "gateway/limits", "gateway/pitr", "gateway/plan"},
		"gateway/maintenance":                        {"etcdschema", "gateway/control", "gateway/due", "gateway/fault", "gateway/identity", "gateway/lifecycle", "gateway/plan", "gateway/schedules"},
		"gateway/schedules":                          {"datastores", "etcdschema", "gateway/control", "gateway/drills", "gateway/due", "gateway/fault", "gateway/identity", "gateway/lifecycle", "gateway/limits", "gateway/plan", "github.com/robfig/cron/v3"},
		"gateway/pitr":                               {"datastores", "etcdschema", "gateway/control", "gateway/due", "gateway/fault", "gateway/identity", "gateway/lifecycle", "gateway/plan", "gateway/segments"},
		"gateway/modules":                            {"datastores", "etcdschema", "gateway/control", "gateway/due", "gateway/fault", "gateway/identity", "gateway/lifecycle", "gateway/limits", "gateway/plan"},
		"gateway/objectives":                         {"etcdschema", "gateway/control", "gateway/due", "gateway/fault", "gateway/lifecycle", "gateway/plan"},
		"gateway/transfer":                           {"datastores", "datastores/guest/stream", "etcdschema", "gateway/blobstore", "gateway/control", "gateway/fault", "gateway/limits", "gateway/plan", "gateway/segments", "github.com/klauspost/compress/zstd"},
		"gateway/verify":                             {"datastores/guest/stream", "etcdschema", "gateway/control", "gateway/due", "gateway/fault", "gateway/plan", "gateway/segments"},
		"gateway/fault":                              {"agentpoll", "etcdschema", "gateway/identity", "gateway/lifecycle"},
		"gateway/limits":                             {"agentpoll", "agentpoll/rate", "gateway/fault"},
		"gateway/keyring":                            {"etcdschema"},
		"gateway/authority":                          {},
		"gateway/blobstore":                          {"github.com/minio/minio-go/v7/..."},
		"gateway/takeover":                           {"etcdschema", "gateway/keyring", "gateway/lifecycle", "gateway/plan"},
		"gateway/segments":                           {"agentpoll", "agentpoll/server", "gateway/blobstore"},
		"gateway/lifecycle":                          {"agentpoll", "datastores", "deployments", "etcdschema"},
		"gateway/identity":                           {"agentpoll", "agentpoll/rate", "etcdschema", "github.com/google/uuid", "github.com/hashicorp/go-multierror", "github.com/goccy/go-yaml", "golang.org/x/crypto/argon2"},
		"gateway/cmd/coffer-gateway":                 {"agentpoll", "agentpoll/server", "etcdschema", "etcdschema/embedded", "gateway", "gateway/api", "gateway/blobstore", "gateway/identity", "gateway/keyring", "gateway/limits", "github.com/hashicorp/go-multierror"},
		// Programs of others, for tests.
		"gateway/blobstore/blobstoretest": {"agentpoll/agentpolltest/until"},
		// The CLI and the test support of the gateway stand outside: they see both ends on purpose.
		"gateway/cmd/coffer/...":      nil,
		"gateway/gatewaytest":         nil,
		"gateway/gatewaytest/attacks": nil,
	}
	packages := goList(t, "./...")
	standard := goList(t, "std")
	used := map[string]bool{}
	for path, p := range packages {
		name := strings.TrimPrefix(path, module)
		var rule string
		for r := range rules {
			if below(name, []string{r}) {
				rule = r
			}
		}
		if rule == "" {
			t.Errorf("package %s has no rule: say here what it may import", name)
			continue
		}
		used[rule] = true
		if p.Doc == "" {
			t.Errorf("package %s has no package comment", name)
		}
		if rules[rule] == nil {
			continue
		}
		for _, imported := range p.Imports {
			short := strings.TrimPrefix(imported, module)
			if _, std := standard[imported]; !std && !below(short, rules[rule]) {
				t.Errorf("%s imports %s", name, short)
			}
		}
	}
	for rule := range rules {
		if !used[rule] {
			t.Errorf("the rule for %s holds for no package", rule)
		}
	}
	for _, e := range engines {
		if _, ok := packages[module+e]; !ok {
			t.Errorf("engine %s is gone", e)
		}
	}
}

// TestRoomsOfTheGateway holds the number of files in each package of the gateway: what does not fit has two ideas in it.
func TestRoomsOfTheGateway(t *testing.T) {
	const most = 25
	seen := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		files, err := filepath.Glob(filepath.Join(path, "*.go"))
		files = slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, "_test.go") })
		seen += len(files)
		if len(files) > most {
			t.Errorf("gateway/%s has %d files; want at most %d", path, len(files), most)
		}
		return err
	})
	if err != nil || seen == 0 {
		t.Fatalf("%d files: %v", seen, err)
	}
}

// TestWhatAGuestLinks looks at everything that ends up in a guest.
func TestWhatAGuestLinks(t *testing.T) {
	all := goList(t, "-deps", "./...")
	forbidden := []string{"github.com/labstack/echo/...", "go.etcd.io/etcd/...", "google.golang.org/grpc/...", module + "etcdschema/...", module + "gateway/..."}
	for _, f := range forbidden {
		if !slices.ContainsFunc(slicesOf(all), func(p string) bool { return below(p, []string{f}) }) {
			t.Errorf("%s is forbidden and linked nowhere at all: does it still exist?", f)
		}
	}
	engines := []string{"couchbase", "mongodb", "mysql", "postgresql", "redis"}
	for _, engine := range engines {
		guest := "datastores/" + engine + "/cmd/" + engine + "-guest"
		var others []string
		for _, other := range engines {
			if other != engine {
				others = append(others, module+"datastores/"+other+"/...")
			}
		}
		p, ok := all[module+guest]
		if !ok {
			t.Errorf("guest %s is gone", guest)
		}
		for _, dep := range p.Deps {
			if below(dep, append(others, forbidden...)) {
				t.Errorf("%s links %s", guest, dep)
			}
		}
	}
}

func slicesOf(all map[string]listed) []string {
	var paths []string
	for p := range all {
		paths = append(paths, p)
	}
	return paths
}

// TestTestsDoNotSleep holds every test, and every package for tests, against the rule that none waits by sleeping: what is
// waited for is asked for with package until. Inside a synctest bubble time is the test's own; a helper that runs in one says
// so beside the call.
func TestTestsDoNotSleep(t *testing.T) {
	const says = "// of the bubble"
	files := token.NewFileSet()
	sources := map[string][]byte{}
	parsed := map[string][]*ast.File{} // by directory
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || !strings.Contains(path, "test") {
			return err
		}
		if sources[path], err = os.ReadFile(path); err != nil {
			return err
		}
		f, err := parser.ParseFile(files, path, sources[path], parser.SkipObjectResolution)
		parsed[filepath.Dir(path)] = append(parsed[filepath.Dir(path)], f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	sleeps := 0
	for _, dir := range parsed {
		bubbles := []string{"synctest.Test"}
		for _, f := range dir { // a function that makes a bubble for the one that it is given
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && len(calls(fn, "synctest.Test")) > 0 {
					bubbles = append(bubbles, fn.Name.Name)
				}
			}
		}
		for _, f := range dir {
			made := calls(f, bubbles...)
			for _, sleep := range calls(f, "time.Sleep") {
				sleeps++
				at := files.Position(sleep.Pos())
				inside := slices.ContainsFunc(made, func(b *ast.CallExpr) bool { return b.Pos() <= sleep.Pos() && sleep.End() <= b.End() })
				if line := strings.Split(string(sources[at.Filename]), "\n")[at.Line-1]; !inside && !strings.Contains(line, says) {
					t.Errorf("%s sleeps: wait with package until, or say %q", at, says)
				}
			}
		}
	}
	if sleeps == 0 {
		t.Error("no sleep was looked at")
	}
}

// calls are the calls below n of functions with these names.
func calls(n ast.Node, names ...string) (found []*ast.CallExpr) {
	ast.Inspect(n, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok && slices.Contains(names, named(call.Fun)) {
			found = append(found, call)
		}
		return true
	})
	return found
}

func named(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		if x, ok := e.X.(*ast.Ident); ok {
			return x.Name + "." + e.Sel.Name
		}
	}
	return ""
}
