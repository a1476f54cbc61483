package gateway

import (
	"net/http"
	"regexp"

	"github.com/cofferdb/coffer/etcdschema"
)

// strategyView is where backups go: a container, as Trove calls it; here the first part of their place in the store.
type strategyView struct {
	ProjectID  string `json:"project_id"`
	InstanceID string `json:"instance_id"`
	Backend    string `json:"backend"`
	Container  string `json:"swift_container"`
}

var containerName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,62}$`)

func checkContainer(name string) error {
	if !containerName.MatchString(name) {
		return faultf(badRequest, "Validation error: swift_container %q must be 1 to 63 of A-Z a-z 0-9 . _ - and not begin with a dot.", name)
	}
	return nil
}

// containerFor is where a backup goes: what the request says, else its instance's strategy, else the project's.
func (g *Gateway) containerFor(r *request, asked, instance string) (string, error) {
	if asked != "" {
		return asked, checkContainer(asked)
	}
	for _, of := range []string{instance, ""} {
		rec, err := etcdschema.Get(r.ctx, g.store, etcdschema.BackupStrategyKey(r.project, of))
		if err == nil {
			return rec.Value.Container, nil
		}
		if !isNotFound(err) {
			return "", err
		}
	}
	return defaultContainer, nil
}

func (g *Gateway) createBackupStrategy(r *request) (reply, error) {
	body, err := decode[struct {
		Strategy map[string]any `json:"backup_strategy"`
	}](r)
	if err != nil {
		return reply{}, err
	}
	want, err := readBackupStrategy(body.Strategy)
	if err != nil {
		return reply{}, err
	}
	if err := checkContainer(want.Container); err != nil {
		return reply{}, err
	}
	if want.Instance != "" {
		if _, err := etcdschema.Get(r.ctx, g.store, etcdschema.InstanceKey(r.project, want.Instance)); err != nil {
			return reply{}, instanceError(err, want.Instance)
		}
	}
	key := etcdschema.BackupStrategyKey(r.project, want.Instance)
	_, err = g.store.Update(r.ctx, []etcdschema.Ref{key}, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
		return []etcdschema.Op{etcdschema.Put(key, etcdschema.BackupStrategy{Container: want.Container})}, nil
	})
	view := strategyView{r.project, want.Instance, storeName, want.Container}
	return reply{http.StatusAccepted, map[string]any{"backup_strategy": view}}, err
}

type backupStrategyRequest struct{ Container, Instance string }

// readBackupStrategy takes the two properties that there are; as in Trove, another one is an error.
func readBackupStrategy(body map[string]any) (want backupStrategyRequest, err error) {
	if body == nil {
		return want, faultf(badRequest, "Validation error: 'backup_strategy' is a required property.")
	}
	for name, value := range body {
		into := map[string]*string{"swift_container": &want.Container, "instance_id": &want.Instance}[name]
		text, ok := value.(string)
		switch {
		case into == nil:
			return want, faultf(badRequest, "Validation error: backup_strategy[%q] is unknown; allowed: swift_container, instance_id.", name)
		case !ok && value != nil:
			return want, faultf(badRequest, "Validation error: backup_strategy['%s'] must be a string.", name)
		}
		*into = text
	}
	return want, nil
}

const storeName = "coffer"

func (g *Gateway) listBackupStrategies(r *request) (reply, error) {
	project, err := r.askedProject()
	if err != nil {
		return reply{}, err
	}
	from := etcdschema.BackupStrategies(project)
	list, err := etcdschema.List(r.ctx, g.store, from, etcdschema.Page{})
	if err != nil {
		return reply{}, err
	}
	views := []strategyView{}
	for _, rec := range list.Records {
		v := strategyView{project, from.Name(rec.Key), storeName, rec.Value.Container}
		if v.InstanceID == etcdschema.WholeProject {
			v.InstanceID = ""
		}
		if asked := r.query("instance_id"); asked == "" || asked == v.InstanceID {
			views = append(views, v)
		}
	}
	return reply{http.StatusOK, map[string]any{"backup_strategies": views}}, nil
}

// askedProject is the project whose strategies the query is about: an admin may name another.
func (r *request) askedProject() (string, error) {
	project := r.query("project_id")
	switch {
	case project == "" || project == r.project:
		return r.project, nil
	case !r.who.Admin():
		return "", faultf(forbidden, "The backup strategies of project %s are not this project's.", project)
	}
	return project, nil
}

func (g *Gateway) deleteBackupStrategy(r *request) (reply, error) {
	project, err := r.askedProject()
	if err != nil {
		return reply{}, err
	}
	key := etcdschema.BackupStrategyKey(project, r.query("instance_id"))
	_, err = g.store.Update(r.ctx, []etcdschema.Ref{key}, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
		return []etcdschema.Op{etcdschema.Delete(key)}, nil
	})
	return reply{status: http.StatusAccepted}, err
}
