package lifecycle

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestWhatAnOperationTouches holds in which files, engines and tests aside, the names of two operations of one step are. What is
// listed is all that a new one takes: a method, its row, arguments if it has any, and, unless it is an action, a way to ask for it.
func TestWhatAnOperationTouches(t *testing.T) {
	for _, c := range []struct {
		names []string
		files []string
	}{
		{[]string{"AskDetach", "Detaching", "Detach", "MethodDetachReplica"}, []string{
			"datastores/guest/dispatch.go",    // the call of the engine
			"datastores/methods.go",           // its name on the wire, its row
			"gateway/control/replicas.go",     // its rule: only of a replica
			"gateway/lifecycle/decision.go",   // a detach ends what a promotion has left: nothing that others do
			"gateway/lifecycle/operations.go", // the row
			"gateway/plan/replication.go",     // its arguments
		}},
		{[]string{"AskRestart", "Restarting", "Restart", "MethodRestart"}, []string{
			"datastores/guest/dispatch.go",
			"datastores/methods.go",
			"gateway/api/clusters.go",            // a cluster's: all members
			"gateway/api/mgmt.go",                // the operators' name of it: reboot
			"gateway/lifecycle/create.go",        // a healthy server disproves a failed restart
			"gateway/lifecycle/operations.go",    // the row, and with it the action
			"gateway/lifecycle/stopped.go",       // a start that brings parameters is a restart
			"gateway/maintenance/maintenance.go", // an operator's, in a window
			"gateway/plan/commands.go",           // its arguments: parameters
		}},
	} {
		got := filesNaming(t, c.names)
		if !slices.Equal(got, c.files) {
			t.Errorf("%s is named in\n\t%s\nwant\n\t%s", c.names[0], strings.Join(got, "\n\t"), strings.Join(c.files, "\n\t"))
		}
	}
}

// filesNaming lists the files with an identifier of names that is not a method's or a field's.
func filesNaming(t *testing.T, names []string) (files []string) {
	t.Helper()
	root := os.DirFS("../..")
	err := fs.WalkDir(root, ".", func(file string, d fs.DirEntry, err error) error {
		room, rest, _ := strings.Cut(file, "/")
		engine := room == "datastores" && slices.Contains([]string{"mysql", "postgresql", "redis", "datastoretest"}, strings.Split(rest, "/")[0])
		if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") || engine {
			return err
		}
		text, err := fs.ReadFile(root, file)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if namesOne(parsed, names) {
			files = append(files, file)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	return slices.Compact(files)
}

// namesOne reports whether a file uses one of the names of package lifecycle or datastores.
func namesOne(file *ast.File, names []string) (found bool) {
	rooms := []string{"lifecycle", "datastores"}
	others := map[*ast.Ident]bool{} // what belongs to something else: methods, fields
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			from, ok := n.X.(*ast.Ident)
			others[n.Sel] = !ok || !slices.Contains(rooms, from.Name)
		case *ast.FuncDecl:
			others[n.Name] = true
		case *ast.Field:
			for _, name := range n.Names {
				others[name] = true
			}
		case *ast.KeyValueExpr:
			if key, ok := n.Key.(*ast.Ident); ok {
				others[key] = true
			}
		case *ast.Ident:
			if !others[n] && slices.Contains(names, n.Name) {
				found = true
			}
		}
		return true
	})
	return found
}
