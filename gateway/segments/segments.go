// Package segments serves what agents send and fetch beside their commands: the segments of backups and the chunks of published
// logs. Who may do so, and where the blobs are, is its user's to say.
package segments

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/gateway/blobstore"
)

// Server serves segments and chunks. Bodies are streamed between agent and store; no segment is ever held in memory.
type Server struct {
	Blobs   blobstore.Store // nil: every call is answered 501
	Presign bool            // sends agents to the store itself, when it is a blobstore.Presigner
	Log     *slog.Logger

	// Authenticate says which agent it is; errors are those of package server.
	Authenticate func(*http.Request) (agentID string, err error)
	// MayWrite and MayRead return where the segments of a backup are, if that agent may write number n, or read all, now. Errors are
	// ErrNone, ErrNotNow, a *Refusal, or others, of which the agent is told only to ask again.
	MayWrite func(ctx context.Context, agentID, backupID string, n int64) (Place, error)
	MayRead  func(ctx context.Context, agentID, backupID string) (Place, error)
	// MayWriteLog is the same for chunk n of a log of the agent's own instance, and MayDiscardLog for the deletion of all.
	MayWriteLog   func(ctx context.Context, agentID, log string, n int64) (Place, error)
	MayDiscardLog func(ctx context.Context, agentID, log string) (Place, error)
	// Refused counts what was refused for a limit.
	Refused func(limit string)
}

// Place is where an agent may put or get blobs now, and how many.
type Place struct {
	Prefix string // of their names, such as "backups/<project>/<id>"
	Limit  string // the limit that the numbers are of
	Most   int64  // the highest number; -1: any
	Size   int64  // bytes that each may have, but for the one numbered 0
	Index  int64  // bytes that the one numbered 0 may have
}

// What an agent may not do.
var (
	ErrNone    = errors.New("there is no such backup, log or segment")
	ErrNotNow  = errors.New("the backup is neither being made nor restored by this agent, or nobody has asked it to publish the log")
	errNoPlace = errors.New("these gateways have no place for backups and logs: start them with -backup-dir or -s3-endpoint")
)

// The flow of a body: how long it may stop, and how long a store may take once it has everything.
const (
	flowTimeout  = 30 * time.Second
	storeTimeout = 5 * time.Minute
)

const (
	backupsPath = "/agent/v1/backups/"
	logsPath    = "/agent/v1/logs/"
)

// transfer is one request.
type transfer struct {
	*Server
	w       http.ResponseWriter
	r       *http.Request
	agentID string
	Place
	number int64
	name   string // of the blob, or the prefix of all
	status int    // of the answer
}

func (t *transfer) answer(status int) {
	t.status = status
	t.w.WriteHeader(status)
}

// Serve answers a request for segments or chunks; false: it is none.
func (s *Server) Serve(w http.ResponseWriter, r *http.Request) bool {
	rest, isBackup := strings.CutPrefix(r.URL.Path, backupsPath)
	if !isBackup {
		var isLog bool
		if rest, isLog = strings.CutPrefix(r.URL.Path, logsPath); !isLog {
			return false
		}
	}
	begun := time.Now()
	t := &transfer{Server: s, w: w, r: r}
	control := http.NewResponseController(w)
	if r.ContentLength != 0 { // net/http reads what is left of a body that is refused, and must not wait for it
		_ = control.SetReadDeadline(begun.Add(flowTimeout))
	}
	if err := t.run(strings.Split(rest, "/"), isBackup); err != nil {
		t.refuse(err)
	}
	_ = control.SetWriteDeadline(time.Time{}) // a poll may come over the same connection
	s.Log.Debug("segment", "method", r.Method, "path", r.URL.Path, "agent_id", t.agentID, "status", t.status, "length", r.ContentLength, "took", time.Since(begun))
	return true
}

// run finds out what is wanted, who wants it and whether that is allowed, before anything of the body is read.
func (t *transfer) run(path []string, isBackup bool) (err error) {
	serve, where, err := t.route(path, isBackup)
	if err != nil {
		return err
	}
	if t.agentID, err = t.Authenticate(t.r); err != nil {
		return err
	}
	if t.Blobs == nil {
		return errNoPlace
	}
	if len(path) == 3 {
		t.number, _ = strconv.ParseInt(path[2], 10, 64) // route has looked at it
	}
	if t.Place, err = where(t.r.Context(), t.agentID, path[0]); err != nil {
		return err
	}
	t.name = t.Prefix
	if len(path) == 3 {
		t.name = ChunkName(t.name, t.number)
	}
	return serve(t)
}

var segmentNumber = regexp.MustCompile(`^(0|[1-9][0-9]{0,7})$`)

// route finds the handler and who knows the prefix: <id>/segments/<n>, <log>/chunks/<n>, or <log>.
func (t *transfer) route(path []string, isBackup bool) (func(*transfer) error, func(context.Context, string, string) (Place, error), error) {
	numbered := len(path) == 3 && segmentNumber.MatchString(path[2])
	switch m := t.r.Method; {
	case isBackup && numbered && path[1] == "segments" && m == http.MethodPut:
		return (*transfer).put, t.numbered(t.MayWrite), nil
	case isBackup && numbered && path[1] == "segments" && m == http.MethodGet:
		return (*transfer).get, t.MayRead, nil
	case isBackup && numbered && path[1] == "segments":
		return nil, nil, t.only(http.MethodGet, http.MethodPut)
	case !isBackup && numbered && path[1] == "chunks" && m == http.MethodPut:
		return (*transfer).put, t.numbered(t.MayWriteLog), nil
	case !isBackup && numbered && path[1] == "chunks":
		return nil, nil, t.only(http.MethodPut)
	case !isBackup && len(path) == 1 && m == http.MethodDelete:
		return (*transfer).deleteAll, t.MayDiscardLog, nil
	case !isBackup && len(path) == 1:
		return nil, nil, t.only(http.MethodDelete)
	}
	return nil, nil, ErrNone
}

// numbered asks for the number that the request has.
func (t *transfer) numbered(may func(context.Context, string, string, int64) (Place, error)) func(context.Context, string, string) (Place, error) {
	return func(ctx context.Context, agentID, of string) (Place, error) { return may(ctx, agentID, of, t.number) }
}

func (t *transfer) only(methods ...string) error {
	t.w.Header().Set("Allow", strings.Join(methods, ", "))
	return &Refusal{http.StatusMethodNotAllowed, agentpoll.Unsupported, "the method is not allowed here"}
}
