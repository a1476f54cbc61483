// Package modules has drivers for types of modules that any manager may offer, as values: see [datastores.Modules].
package modules

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/volume"
)

// Common are all of them, for managers of an environment.
func Common(env datastores.Env) []datastores.ModuleDriver {
	return []datastores.ModuleDriver{Ping(), KeyFile(env)}
}

// Ping is Trove's type for trying modules out: it changes nothing, and answers how much is in the module.
func Ping() datastores.ModuleDriver {
	return datastores.ModuleDriver{
		Type: "ping",
		Apply: func(ctx context.Context, m datastores.AppliedModule) (string, error) {
			return fmt.Sprintf("the guest has got %d bytes", len(m.Contents)), ctx.Err()
		},
		Remove: func(ctx context.Context, _ string) error { return ctx.Err() },
	}
}

// Parameters is the type of modules that set parameters of the server: a JSON object of their names and values. It is for managers
// that implement [datastores.Configuration].
func Parameters() datastores.ModuleDriver {
	return datastores.ModuleDriver{Type: "parameters", Parameters: func(m datastores.AppliedModule) (datastores.Values, error) {
		var values datastores.Values
		if err := json.Unmarshal(m.Contents, &values); err != nil || len(values) == 0 { // the error of encoding/json tells of what is in it
			return nil, datastores.Errorf(datastores.Invalid, `a module of type parameters is a JSON object of names and values, like {"name": 1}`)
		}
		return values, nil
	}}
}

// KeyFile puts what is in a module into the file modules/<id>/<name> of the instance's data directory, mode 0600, which only the
// server's user reads: the key of a licence, a certificate, a list of words. The module's name must be fit for a file.
func KeyFile(env datastores.Env) datastores.ModuleDriver {
	return datastores.ModuleDriver{
		Type:   "key_file",
		Apply:  func(ctx context.Context, m datastores.AppliedModule) (string, error) { return writeKey(ctx, env, m) },
		Remove: func(ctx context.Context, id string) error { return removeKey(ctx, env, id) },
	}
}

// Dir is the folder of an instance's data directory that holds the files of modules, each module's in a folder of its id.
const Dir = "modules"

var fileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func writeKey(ctx context.Context, env datastores.Env, m datastores.AppliedModule) (string, error) {
	if !fileName.MatchString(m.Name) {
		return "", datastores.Errorf(datastores.Invalid, "the name of a key_file becomes the name of a file: 1 to 64 of A-Z a-z 0-9 . _ -, beginning with a letter or digit")
	}
	if err := removeKey(ctx, env, m.ID); err != nil {
		return "", err
	}
	dir := volume.Data(env)
	for _, folder := range []string{Dir, Dir + "/" + m.ID} {
		if err := dir.MakeDir(folder); err != nil {
			return "", err
		}
	}
	name := Dir + "/" + m.ID + "/" + m.Name
	if err := dir.WriteFile(name, m.Contents); err != nil {
		return "", err
	}
	return "the file is " + name + " of the data directory", nil
}

func removeKey(ctx context.Context, env datastores.Env, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	dir := volume.Data(env)
	if there, err := dir.Exists(Dir); err != nil || !there {
		return err
	}
	return dir.Remove(Dir + "/" + id)
}
