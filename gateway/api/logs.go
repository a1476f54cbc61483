package api

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/blobstore"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/segments"
)

// logView is a log as clients see it. Container and prefix are there once something was published.
type logView struct {
	Name      string  `json:"name"`
	Type      string  `json:"type"`
	Status    string  `json:"status"`
	Published int64   `json:"published"` // bytes
	Pending   int64   `json:"pending"`   // bytes
	Container *string `json:"container"`
	Prefix    *string `json:"prefix"`
	Metafile  *string `json:"metafile"`
}

func viewLog(in etcdschema.Instance, l datastores.LogStatus) logView {
	v := logView{Name: l.Name, Type: string(l.Type), Status: l.Status, Published: l.Published, Pending: l.Pending}
	if l.Published > 0 {
		v.Container, v.Prefix = optional(segments.LogContainer), optional(in.Project+"/"+in.ID+"/"+l.Name+"/")
	}
	return v
}

func (a *API) listLogs(r *request) (reply, error) {
	in, err := a.instance(r)
	if err != nil {
		return reply{}, err
	}
	var list datastores.LogList
	if err := a.callGuest(r, datastores.MethodLogList, nil, &list); err != nil {
		return reply{}, err
	}
	views := []logView{}
	for _, l := range list.Logs {
		views = append(views, viewLog(in.Instance, l))
	}
	return reply{http.StatusOK, map[string]any{"logs": views}}, nil
}

// actOnLog turns a log on or off, publishes what is pending, or discards what was published. A name alone asks how the log is, as
// Trove's clients do before everything else.
func (a *API) actOnLog(r *request) (reply, error) {
	req, err := decode[struct {
		Name    string      `json:"name"`
		Enable  control.Bit `json:"enable"`
		Disable control.Bit `json:"disable"`
		Publish control.Bit `json:"publish"`
		Discard control.Bit `json:"discard"`
	}](r)
	if err != nil {
		return reply{}, err
	}
	chosen := 0
	for _, f := range []control.Bit{req.Enable, req.Disable, req.Discard} {
		if f {
			chosen++
		}
	}
	if req.Name == "" || chosen > 1 {
		return reply{}, fault.Errorf(fault.BadRequest, "Validation error: name a log and at most one of enable, disable, discard; publish may go with each.")
	}
	if bool(req.Publish) && a.Control.Blobs == nil {
		return reply{}, fault.Errorf(fault.NotImplemented, "This gateway has no store for logs; its operator sets -backup-dir or -s3-endpoint.")
	}
	in, err := a.instance(r)
	if err != nil {
		return reply{}, err
	}
	var status datastores.LogStatus
	args := datastores.LogArgs{Name: req.Name, Enable: bool(req.Enable), Disable: bool(req.Disable), Publish: bool(req.Publish), Discard: bool(req.Discard)}
	if err := a.callGuest(r, datastores.MethodLogAction, args, &status); err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, map[string]any{"log": viewLog(in.Instance, status)}}, nil
}

// showLog writes everything that was published of a log: text, since this system has no Swift for clients to read.
func (a *API) showLog(r *request) (reply, error) {
	in, err := a.instance(r)
	if err != nil {
		return reply{}, err
	}
	if a.Control.Blobs == nil {
		return reply{}, fault.Errorf(fault.ItemNotFound, "Nothing of log %s was published.", r.param("name"))
	}
	prefix := segments.LogPrefix(in.Project, in.ID, r.param("name"))
	if err := blobstore.CheckName(prefix); err != nil {
		return reply{}, fault.Errorf(fault.ItemNotFound, "There is no log %q.", r.param("name"))
	}
	first, _, err := a.Control.Blobs.Get(r.ctx, segments.ChunkName(prefix, 1))
	if errors.Is(err, blobstore.ErrNotFound) {
		return reply{}, fault.Errorf(fault.ItemNotFound, "Nothing of log %s was published.", r.param("name"))
	}
	if err != nil {
		return reply{}, err
	}
	w := r.echo.Response()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	return reply{http.StatusOK, written{}}, a.copyChunks(r.ctx, w, first, prefix)
}

// copyChunks writes one chunk after the other.
func (a *API) copyChunks(ctx context.Context, w io.Writer, chunk io.ReadCloser, prefix string) error {
	for n := int64(2); ; n++ {
		_, err := io.Copy(w, chunk)
		_ = chunk.Close()
		if err != nil {
			return err
		}
		chunk, _, err = a.Control.Blobs.Get(ctx, segments.ChunkName(prefix, n))
		if errors.Is(err, blobstore.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
