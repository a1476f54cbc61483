package volume

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// notEngines are the packages beside engines: the runtime, and helpers, which do what engines must not.
var notEngines = []string{"configfile", "datastoretest", "service", "volume", "wire", "guest"}

// reaching are the packages with which a path can be reached, and what an engine may use of each: nothing that takes a path. What is
// missing here is forbidden, so that a new function has to be thought about.
var reaching = map[string][]string{
	"os": {
		"O_RDWR", "O_WRONLY", "O_RDONLY", "O_TRUNC", "File", "Geteuid", "Getegid", "ErrNotExist", "ErrExist", "SameFile", "Stderr", "Stdout", "Stdin",
	},
	"path/filepath": {"Join", "Base", "Dir", "IsAbs", "IsLocal", "Clean"},
	"io/fs":         {"ErrNotExist", "ErrExist", "DirEntry", "FileInfo", "SkipDir", "SkipAll"},
	"syscall":       {"ENOSPC", "EOPNOTSUPP", "Fallocate", "Signal", "SIGHUP", "SIGINT", "SIGTERM", "SIGQUIT", "SIGUSR1", "ECONNRESET", "EPIPE"},
	"net":           {"Conn", "JoinHostPort", "ParseIP", "IP", "Error", "OpError", "ErrClosed", "SplitHostPort"},
	"os/exec":       {"ErrNotFound"}, "io/ioutil": nil, "embed": nil, "plugin": nil, "unsafe": nil, "golang.org/x/sys/unix": nil,
}

// allowed are the exceptions, each with its reason.
var allowed = map[string]string{
	"datastores/mysql/install.go: os.Open":                   "the files of the server's package",
	"datastores/mysql/physical.go: os.Stat":                  "whether the package of a program is installed",
	"datastores/mysql/zones.go: os.ReadDir":                  "what the package tzdata brings",
	"datastores/postgresql/obstacles.go: os.Stat":            "what the packages of extensions bring",
	"datastores/postgresql/tls.go: net.Dialer":               "connects to the server as its clients do, by TCP",
	"datastores/redis/conn.go: net.Dialer":                   "connects to another member, by TCP",
	"deployments/examples/memcached/protocol.go: net.Dialer": "connects to the server, by TCP",
}

// TestEnginesReachNoPath holds engines, in this module and in the examples, against the rule that a guest never goes by path where a
// tenant's code may write: everything there goes through this package, and sockets too. So they may not use anything
// that takes a path at all.
func TestEnginesReachNoPath(t *testing.T) {
	used := map[string]bool{}
	engines := 0
	for _, dir := range []string{"datastores", "deployments/examples"} {
		found, err := filepath.Glob("../../" + dir + "/*")
		if err != nil {
			t.Fatal(err)
		}
		for _, engine := range found {
			if slices.Contains(notEngines, filepath.Base(engine)) {
				continue
			}
			seen := false
			err := filepath.WalkDir(engine, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.IsDir() && strings.HasSuffix(path, "test") {
					return fs.SkipDir // a double of the engine's server
				}
				if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || path == engine {
					return err
				}
				seen = true
				for _, use := range reached(t, path) {
					key := strings.TrimPrefix(filepath.ToSlash(path), "../../") + ": " + use
					if _, ok := allowed[key]; !ok {
						t.Errorf("%s: go through datastores/volume, or say here why not", key)
					}
					used[key] = true
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if seen {
				engines++
			}
		}
	}
	if engines < 5 {
		t.Errorf("only %d engines were looked at", engines)
	}
	for key := range allowed {
		if !used[key] {
			t.Errorf("nobody needs %q", key)
		}
	}
}

// reached lists what a file uses of the packages that reach paths and is not among what engines may use.
func reached(t *testing.T, path string) (uses []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{} // of packages in this file
	for _, spec := range f.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := reaching[imported]; !ok {
			continue
		}
		name := filepath.Base(imported)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		if names[name] = imported; name == "." || name == "_" {
			uses = append(uses, "import "+name+" "+imported)
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := s.X.(*ast.Ident); ok && x.Obj == nil {
			imported, ok := names[x.Name]
			if use := x.Name + "." + s.Sel.Name; ok && !slices.Contains(reaching[imported], s.Sel.Name) && !slices.Contains(uses, use) {
				uses = append(uses, use)
			}
		}
		return true
	})
	return uses
}
