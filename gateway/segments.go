package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/server"
	"github.com/cofferdb/coffer/gateway/blobstore"
)

// segments serves what agents send and fetch beside their commands: the segments of backups and the chunks of published
// logs. Bodies are streamed between agent and store; no segment is ever held in memory.
type segments struct {
	blobs   blobstore.Store // nil: every call is answered 501
	presign bool            // sends agents to the store itself, when it is a blobstore.Presigner
	log     *slog.Logger

	// authenticate says which agent it is; errors are those of [server.Server.Authenticate].
	authenticate func(*http.Request) (agentID string, err error)
	// mayWrite and mayRead return where the segments of a backup are, if that agent may write, or read, them now. Errors are
	// errNoSegments, errNotNow, or others, of which the agent is told only to ask again.
	mayWrite, mayRead func(ctx context.Context, agentID, backupID string) (place, error)
	// mayWriteLog is the same for the chunks of a log of the agent's own instance.
	mayWriteLog func(ctx context.Context, agentID, log string) (place, error)
	refused     func(limit string)
}

// place is where an agent may put or get blobs now, and how many.
type place struct {
	prefix string // of their names, such as "backups/<project>/<id>"
	limit  string // the row of the table that the numbers are of
	most   int64  // the highest number; -1: any
	size   int64  // bytes of each but the one numbered 0, an index; 0: as many as a segment may have
}

var (
	errNoSegments = errors.New("there is no such backup, log or segment")
	errNotNow     = errors.New("the backup is neither being made nor restored by this agent, or nobody has asked it to publish the log")
	errNoPlace    = errors.New("these gateways have no place for backups and logs: start them with -backup-dir or -s3-endpoint")
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
	*segments
	w       http.ResponseWriter
	r       *http.Request
	agentID string
	place
	number int64
	name   string // of the blob, or the prefix of all
	status int    // of the answer
}

func (t *transfer) answer(status int) {
	t.status = status
	t.w.WriteHeader(status)
}

// serve answers a request for segments or chunks; false: it is none.
func (s *segments) serve(w http.ResponseWriter, r *http.Request) bool {
	rest, isBackup := strings.CutPrefix(r.URL.Path, backupsPath)
	if !isBackup {
		var isLog bool
		if rest, isLog = strings.CutPrefix(r.URL.Path, logsPath); !isLog {
			return false
		}
	}
	begun := time.Now()
	t := &transfer{segments: s, w: w, r: r}
	control := http.NewResponseController(w)
	if r.ContentLength != 0 { // net/http reads what is left of a body that is refused, and must not wait for it
		_ = control.SetReadDeadline(begun.Add(flowTimeout))
	}
	if err := t.run(strings.Split(rest, "/"), isBackup); err != nil {
		t.refuse(err)
	}
	_ = control.SetWriteDeadline(time.Time{}) // a poll may come over the same connection
	s.log.Debug("segment", "method", r.Method, "path", r.URL.Path, "agent_id", t.agentID, "status", t.status, "length", r.ContentLength, "took", time.Since(begun))
	return true
}

// run finds out what is wanted, who wants it and whether that is allowed, before anything of the body is read.
func (t *transfer) run(path []string, isBackup bool) (err error) {
	serve, where, err := t.route(path, isBackup)
	if err != nil {
		return err
	}
	if t.agentID, err = t.authenticate(t.r); err != nil {
		return err
	}
	if t.blobs == nil {
		return errNoPlace
	}
	if t.place, err = where(t.r.Context(), t.agentID, path[0]); err != nil {
		return err
	}
	t.name = t.prefix
	if len(path) == 3 {
		t.number, _ = strconv.ParseInt(path[2], 10, 64) // route has looked at it
		t.name = fmt.Sprintf("%s/%08d", t.name, t.number)
	}
	return serve(t)
}

var segmentNumber = regexp.MustCompile(`^(0|[1-9][0-9]{0,7})$`)

// route finds the handler and who knows the prefix: <id>/segments/<n>, <log>/chunks/<n>, or <log>.
func (t *transfer) route(path []string, isBackup bool) (func(*transfer) error, func(context.Context, string, string) (place, error), error) {
	numbered := len(path) == 3 && segmentNumber.MatchString(path[2])
	switch m := t.r.Method; {
	case isBackup && numbered && path[1] == "segments" && m == http.MethodPut:
		return (*transfer).put, t.mayWrite, nil
	case isBackup && numbered && path[1] == "segments" && m == http.MethodGet:
		return (*transfer).get, t.mayRead, nil
	case isBackup && numbered && path[1] == "segments":
		return nil, nil, t.only(http.MethodGet, http.MethodPut)
	case !isBackup && numbered && path[1] == "chunks" && m == http.MethodPut:
		return (*transfer).put, t.mayWriteLog, nil
	case !isBackup && numbered && path[1] == "chunks":
		return nil, nil, t.only(http.MethodPut)
	case !isBackup && len(path) == 1 && m == http.MethodDelete:
		return (*transfer).deleteAll, t.mayWriteLog, nil
	case !isBackup && len(path) == 1:
		return nil, nil, t.only(http.MethodDelete)
	}
	return nil, nil, errNoSegments
}

func (t *transfer) only(methods ...string) error {
	t.w.Header().Set("Allow", strings.Join(methods, ", "))
	return &segmentRefusal{http.StatusMethodNotAllowed, agentpoll.Unsupported, "the method is not allowed here"}
}

var hexSHA256 = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (t *transfer) put() error {
	size, sum := t.r.ContentLength, t.r.Header.Get(agentpoll.HeaderSHA256)
	switch {
	case size < 0:
		return &segmentRefusal{http.StatusLengthRequired, agentpoll.Invalid, "a segment needs a Content-Length"}
	case size > t.mostBytes():
		t.refused("segment")
		return &segmentRefusal{http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("a segment may have %d bytes", t.mostBytes())}
	case t.most >= 0 && t.number > t.most:
		t.refused(t.limit)
		return &segmentRefusal{http.StatusRequestEntityTooLarge, agentpoll.Full, fmt.Sprintf("there may be %d of them: limit %s", t.most, t.limit)}
	case !hexSHA256.MatchString(sum):
		return &segmentRefusal{http.StatusBadRequest, agentpoll.Invalid, "a segment needs its SHA-256 in " + agentpoll.HeaderSHA256}
	}
	if p, ok := t.blobs.(blobstore.Presigner); ok && t.presign {
		return t.redirect(p.PresignPut(t.r.Context(), t.name, size))
	}
	body := &flow{control: http.NewResponseController(t.w), r: t.r.Body, w: t.w}
	ctx, cancel := context.WithTimeout(t.r.Context(), storeTimeout+time.Duration(size>>10)*time.Second) // 1 KiB/s and more
	defer cancel()
	if err := t.blobs.Put(ctx, t.name, size, sum, body); err != nil {
		if body.err == nil { // an agent that is still sending would not read the answer
			_, _ = io.Copy(io.Discard, body)
		}
		return body.explain(err)
	}
	t.answer(http.StatusNoContent)
	return nil
}

// mostBytes is how many bytes this one may have.
func (t *transfer) mostBytes() int64 {
	if t.size == 0 || t.number == 0 {
		return agentpoll.MaxSegment
	}
	return t.size
}

func (t *transfer) get() error {
	if p, ok := t.blobs.(blobstore.Presigner); ok && t.presign {
		return t.redirect(p.PresignGet(t.r.Context(), t.name))
	}
	blob, size, err := t.blobs.Get(t.r.Context(), t.name)
	if err != nil {
		return err
	}
	defer blob.Close()
	t.w.Header().Set("Content-Type", "application/octet-stream")
	t.w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	t.answer(http.StatusOK)
	to := &flow{control: http.NewResponseController(t.w), w: t.w}
	if n, err := io.Copy(to, blob); err != nil || n != size {
		t.log.Debug("a segment was not sent to its end", "blob", t.name, "sent", n, "size", size, "err", err)
		panic(http.ErrAbortHandler) // nothing else tells the agent that this was not all
	}
	return nil
}

func (t *transfer) deleteAll() error {
	if err := t.blobs.DeleteAll(t.r.Context(), t.name); err != nil {
		return err
	}
	t.answer(http.StatusNoContent)
	return nil
}

func (t *transfer) redirect(url string, err error) error {
	if err != nil {
		return err
	}
	t.w.Header().Set("Location", url)
	t.answer(http.StatusTemporaryRedirect)
	return nil
}

// flow puts the deadlines of a body off while it flows.
type flow struct {
	control *http.ResponseController
	r       io.Reader
	w       io.Writer
	err     error // of the reading
}

func (f *flow) Read(p []byte) (int, error) {
	_ = f.control.SetReadDeadline(time.Now().Add(flowTimeout))
	n, err := f.r.Read(p)
	if f.err = err; err == io.EOF {
		_ = f.control.SetReadDeadline(time.Time{}) // from here on net/http looks for the agent's hanging up
	}
	return n, err
}

func (f *flow) Write(p []byte) (int, error) {
	_ = f.control.SetWriteDeadline(time.Now().Add(flowTimeout))
	return f.w.Write(p)
}

// explain tells whose fault it is that a body was not stored.
func (f *flow) explain(err error) error {
	switch {
	case errors.Is(err, blobstore.ErrDamaged):
		return &segmentRefusal{http.StatusUnprocessableEntity, agentpoll.Invalid, "the segment was damaged on the way: " + blobstore.ErrDamaged.Error()}
	case f.err != nil && f.err != io.EOF:
		return &segmentRefusal{http.StatusRequestTimeout, agentpoll.Invalid, "the segment did not come to its end"}
	}
	return err
}

// segmentRefusal is an error that says how it is told.
type segmentRefusal struct {
	status  int
	kind    agentpoll.ErrorKind
	message string
}

func (r *segmentRefusal) Error() string { return r.message }

// told says how the errors are told that somebody foresaw. Those of 5xx and 424 are an operator's business.
var told = []struct {
	err error
	segmentRefusal
}{
	{server.ErrUnauthorized, segmentRefusal{http.StatusUnauthorized, "unauthorized", server.ErrUnauthorized.Error()}},
	{server.ErrLocked, segmentRefusal{http.StatusForbidden, "locked", server.ErrLocked.Error()}},
	{errNoSegments, segmentRefusal{http.StatusNotFound, agentpoll.NotFound, errNoSegments.Error()}},
	{blobstore.ErrNotFound, segmentRefusal{http.StatusNotFound, agentpoll.NotFound, errNoSegments.Error()}},
	{errNotNow, segmentRefusal{http.StatusConflict, agentpoll.Conflict, errNotNow.Error()}},
	{errNoPlace, segmentRefusal{http.StatusNotImplemented, agentpoll.Unsupported, errNoPlace.Error()}},
	{blobstore.ErrFull, segmentRefusal{http.StatusInsufficientStorage, agentpoll.Full, agentpoll.StoreFull}},
	{blobstore.ErrDenied, segmentRefusal{http.StatusFailedDependency, agentpoll.Unavailable, agentpoll.StoreDenies}},
}

// refuse tells an error. What nobody foresaw is 503: the agent asks again, the log says what it was.
func (t *transfer) refuse(err error) {
	refusal := segmentRefusal{http.StatusServiceUnavailable, "unavailable", "the call could not be served: ask again"}
	if own, ok := errors.AsType[*segmentRefusal](err); ok {
		refusal = *own
	}
	for _, known := range told {
		if errors.Is(err, known.err) {
			refusal = known.segmentRefusal
			break
		}
	}
	switch refusal.status {
	case http.StatusServiceUnavailable, http.StatusInsufficientStorage, http.StatusFailedDependency:
		if t.r.Context().Err() == nil {
			t.log.Error("a segment could not be served", "method", t.r.Method, "path", t.r.URL.Path, "agent_id", t.agentID, "err", err)
		}
	}
	if refusal.status == http.StatusServiceUnavailable || refusal.status == http.StatusUnauthorized {
		t.w.Header().Set("Retry-After", strconv.Itoa(2+rand.IntN(4)))
	}
	t.w.Header().Set("Content-Type", "application/json")
	t.answer(refusal.status)
	_ = json.NewEncoder(t.w).Encode(agentpoll.ErrorReply{Error: agentpoll.Error{Kind: refusal.kind, Message: refusal.message}})
}
