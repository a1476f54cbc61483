// Package definitions reads a directory of operators' definitions, checks them, and brings them into etcd. A file's path
// is its key: server/datastores/redis/7.0.json (or .yaml, .yml) is the value of /server/datastores/redis/7.0.
package definitions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/go-multierror"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/strict"
)

// Problem is one thing that is wrong with a file.
type Problem struct {
	File    string `json:"file"`
	Path    string `json:"path,omitempty"` // in the file; "": all of it
	Message string `json:"message"`
}

func (p Problem) Error() string {
	if p.Path == "" {
		return p.File + ": " + p.Message
	}
	return p.File + ": " + p.Path + ": " + p.Message
}

// Set is the definitions of a directory.
type Set struct {
	Problems []Problem // when there are any, the rest is not to be relied on
	records  []record
}

// Len is the number of definitions.
func (s *Set) Len() int { return len(s.records) }

// version names a datastore version.
type version struct{ datastore, name string }

// file is a definition that has not been judged.
type file struct {
	name  string // as given to a person
	value []byte
}

// reading is a Set in the making.
type reading struct {
	*Set
	guests   *Guests
	halves   map[version]*[2]file // server, guest
	defaults map[string]file      // by datastore: the file that names its default version
	byKey    map[string]string    // file by key
}

// Read reads and checks every definition below dir; a guest's own options, their values too, are checked when guests has its
// manager. The error is about the directory or the guests; what is wrong with the files is in the Set. A file that is
// neither JSON nor YAML by its name is passed over: a README may be there.
func Read(ctx context.Context, dir string, guests *Guests) (*Set, error) {
	r := reading{Set: &Set{}, guests: guests, halves: map[version]*[2]file{}, defaults: map[string]file{}, byKey: map[string]string{}}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		ext := filepath.Ext(p)
		if err != nil || d.IsDir() || !slices.Contains([]string{".json", ".yaml", ".yml"}, ext) {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		value, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		r.add(strings.TrimSuffix(filepath.ToSlash(rel), ext), file{p, value})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read the definitions: %w", err)
	}
	if err := r.judgeVersions(ctx); err != nil {
		return nil, err
	}
	if r.Len()+len(r.Problems) == 0 {
		return nil, fmt.Errorf("%s holds no definition: want files such as server/datastores/redis/7.0.json", dir)
	}
	slices.SortStableFunc(r.Problems, func(a, b Problem) int { return strings.Compare(a.File, b.File) })
	slices.SortStableFunc(r.records, func(a, b record) int { return strings.Compare(a.key, b.key) })
	return r.Set, nil
}

// add sorts a file in by its key.
func (r *reading) add(key string, f file) {
	if first, twice := r.byKey[key]; twice {
		r.bad(f, "", "is the same key as "+first)
		return
	}
	r.byKey[key] = f.name
	parts := strings.Split(key, "/")
	for _, p := range parts {
		if !etcdschema.ValidName(p) {
			r.bad(f, "", fmt.Sprintf("%q is no name; want 1 to 63 of a-z 0-9 . _ -, beginning with a letter or digit", p))
			return
		}
	}
	kind := path.Join(parts[:min(2, len(parts))]...)
	switch {
	case kind == "server/datastores" && len(parts) == 3:
		d, ok := decode(r, f, etcdschema.DatastoreKey(parts[2]))
		if ok && d.DefaultVersion != "" {
			r.defaults[parts[2]+"/"+d.DefaultVersion] = f
		}
	case kind == "server/datastores" && len(parts) == 4:
		r.half(version{parts[2], parts[3]}, 0, f)
	case kind == "guest/datastores" && len(parts) == 4:
		r.half(version{parts[2], parts[3]}, 1, f)
	case kind == "server/flavors" && len(parts) == 3:
		decode(r, f, etcdschema.FlavorKey(parts[2]))
	case kind == "server/projects" && len(parts) == 4 && parts[3] == "quota":
		decode(r, f, etcdschema.QuotaKey(parts[2]))
	default:
		r.bad(f, "", "is no definition's place; there are server/datastores/NAME, server/datastores/NAME/VERSION, "+
			"guest/datastores/NAME/VERSION, server/flavors/ID, server/projects/PROJECT/quota")
	}
}

func (r *reading) bad(f file, path, message string) {
	r.Problems = append(r.Problems, Problem{f.name, path, message})
}

// decode reads a definition that stands alone.
func decode[T any](r *reading, f file, k etcdschema.Key[T]) (T, bool) {
	v, err := etcdschema.Decode[T](f.value)
	if err != nil {
		r.blame(err, f, f)
		return v, false
	}
	r.records = append(r.records, recordOf(k, v))
	return v, true
}

func (r *reading) half(v version, which int, f file) {
	if r.halves[v] == nil {
		r.halves[v] = &[2]file{}
	}
	r.halves[v][which] = f
}

// judgeVersions judges every version's two halves together, then the defaults that are told by name.
func (r *reading) judgeVersions(ctx context.Context) error {
	have := map[string][]string{}
	for v, halves := range r.halves {
		have[v.datastore] = append(have[v.datastore], v.name)
		server, guest, err := strict.ReadVersion(halves[0].value, halves[1].value)
		if err != nil {
			either := cmp.Or(halves[0].name, halves[1].name) // a half that is missing is the other's problem
			r.blame(err, file{name: cmp.Or(halves[0].name, either)}, file{name: cmp.Or(halves[1].name, either)})
			continue
		}
		problems, err := r.guests.problems(ctx, server.Manager, guest)
		if err != nil {
			return err
		}
		for _, problem := range problems {
			path, message := strict.SplitPath(problem)
			r.bad(halves[1], path, message)
		}
		both := recordOf(etcdschema.VersionKey(v.datastore, v.name), server)
		r.records = append(r.records, both.with(recordOf(etcdschema.GuestOptionsKey(v.datastore, v.name), guest)))
	}
	for name, f := range r.defaults {
		datastore, asked, _ := strings.Cut(name, "/")
		if there := have[datastore]; len(there) > 0 && !slices.Contains(there, asked) {
			slices.Sort(there)
			r.bad(f, "default_version", fmt.Sprintf("%q is not here; here are: %s", asked, strings.Join(there, ", ")))
		}
	}
	return nil
}

// blame spreads what a judge found over the files.
func (r *reading) blame(err error, server, guest file) {
	var all *multierror.Error
	if !errors.As(err, &all) {
		r.bad(server, "", err.Error())
		return
	}
	for _, one := range all.Errors {
		f, path, message := server, "", one.Error()
		if o := (*strict.OptionError)(nil); errors.As(one, &o) {
			path, message = o.Path, o.Message
			if path == "" && o.Half != "" {
				message = o.Half + " half: " + message
			}
			if o.Half == "guest" {
				f = guest
			}
		}
		r.bad(f, path, message)
	}
}

// Put writes every definition that differs from what etcd holds, a version's two halves in one transaction. did is told
// each key and whether it was written. A Set with problems is not put at all.
func (s *Set) Put(ctx context.Context, store *etcdschema.Store, did func(key string, written bool)) error {
	if n := len(s.Problems); n > 0 {
		return fmt.Errorf("nothing was put: of %d problems the first is: %w", n, s.Problems[0])
	}
	for _, r := range s.records {
		differences, err := r.compare(ctx, store)
		if err != nil {
			return err
		}
		if len(differences) > 0 {
			if err := r.put(ctx, store); err != nil {
				return fmt.Errorf("cannot put %s: %w", r.key, err)
			}
		}
		did(r.key, len(differences) > 0)
	}
	return nil
}

// Diff tells how the definitions differ from what etcd holds: a line for each option. What only etcd has is told for
// datastores on offer and flavors.
func (s *Set) Diff(ctx context.Context, store *etcdschema.Store) ([]string, error) {
	lines := []string{}
	have := map[string]bool{}
	for _, r := range s.records {
		have[r.key] = true
		differences, err := r.compare(ctx, store)
		if err != nil {
			return nil, err
		}
		lines = append(lines, differences...)
	}
	more, err := onlyInEtcd(ctx, store, have)
	return append(lines, more...), err
}
