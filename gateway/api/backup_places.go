package api

import (
	"io"
	"mime"
	"net/http"
	"strconv"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/segments"
)

// strategyView is where backups go: a container, as Trove calls it; here the first part of their place in the store.
type strategyView struct {
	ProjectID  string `json:"project_id"`
	InstanceID string `json:"instance_id"`
	Backend    string `json:"backend"`
	Container  string `json:"swift_container"`
}

func (a *API) createBackupStrategy(r *request) (reply, error) {
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
	err = a.Control.SetContainer(r.ctx, r.Caller, want)
	view := strategyView{r.Project, want.Instance, storeName, want.Container}
	return reply{http.StatusAccepted, map[string]any{"backup_strategy": view}}, err
}

// readBackupStrategy takes the two properties that there are; as in Trove, another one is an error.
func readBackupStrategy(body map[string]any) (want control.BackupStrategyRequest, err error) {
	if body == nil {
		return want, fault.Errorf(fault.BadRequest, "Validation error: 'backup_strategy' is a required property.")
	}
	for name, value := range body {
		into := map[string]*string{"swift_container": &want.Container, "instance_id": &want.Instance}[name]
		text, ok := value.(string)
		switch {
		case into == nil:
			return want, fault.Errorf(fault.BadRequest, "Validation error: backup_strategy[%q] is unknown; allowed: swift_container, instance_id.", name)
		case !ok && value != nil:
			return want, fault.Errorf(fault.BadRequest, "Validation error: backup_strategy['%s'] must be a string.", name)
		}
		*into = text
	}
	return want, nil
}

const storeName = "coffer"

func (a *API) listBackupStrategies(r *request) (reply, error) {
	project, err := r.askedProject()
	if err != nil {
		return reply{}, err
	}
	from := etcdschema.BackupStrategies(project)
	list, err := etcdschema.List(r.ctx, a.Control.Store, from, etcdschema.Page{})
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
	case project == "" || project == r.Project:
		return r.Project, nil
	case !r.Who.Admin():
		return "", fault.Errorf(fault.Forbidden, "The backup strategies of project %s are not this project's.", project)
	}
	return project, nil
}

func (a *API) deleteBackupStrategy(r *request) (reply, error) {
	project, err := r.askedProject()
	if err != nil {
		return reply{}, err
	}
	return accepted(a.Control.UnsetContainer(r.ctx, project, r.query("instance_id")))
}

// showExport answers what it takes to bring a backup in elsewhere. Trove has none.
func (a *API) showExport(r *request) (reply, error) {
	items, err := a.Porter.Manifest(r.ctx, r.Caller, r.param("id"))
	if err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, map[string]any{"export": map[string]any{"format": 1, "backups": items}}}, nil
}

const zstdType = "application/zstd"

// readContent writes what a backup holds. An answer that is cut has failed: its length says so.
func (a *API) readContent(r *request) (reply, error) {
	content, err := a.Porter.Open(r.ctx, r.Caller, r.param("id"))
	if err != nil {
		return reply{}, err
	}
	defer content.Close()
	w := r.echo.Response()
	w.Header().Set("Content-Type", zstdType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Length", strconv.FormatInt(content.Size, 10))
	w.WriteHeader(http.StatusOK)
	if _, err = io.Copy(segments.Keep(w, nil), content); err != nil {
		a.Control.Log.Warn("a backup was not exported to its end", "request_id", r.Request, "backup_id", r.param("id"), "err", err)
	}
	return reply{http.StatusOK, written{}}, err
}

// drained is how much is read of a body that is refused, so that its sender reads the answer.
const drained = 32 << 20

// writeContent takes what an imported backup holds.
func (a *API) writeContent(r *request) (reply, error) {
	req := r.echo.Request()
	media, _, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	if err != nil || media != zstdType && media != "application/octet-stream" {
		return reply{}, fault.Errorf(fault.BadMediaType, "Content-Type %q is not supported; send application/zstd, or application/octet-stream what is not compressed.", req.Header.Get("Content-Type"))
	}
	body := segments.Keep(r.echo.Response(), req.Body)
	b, err := a.Porter.Take(r.ctx, r.Caller, r.param("id"), media == zstdType, body)
	if err != nil {
		_, _ = io.CopyN(io.Discard, body, drained)
		return reply{}, err
	}
	return reply{http.StatusOK, map[string]any{"backup": viewBackup(b)}}, nil
}
