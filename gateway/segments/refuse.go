package segments

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/server"
	"github.com/cofferdb/coffer/gateway/blobstore"
)

// Refusal is an error that says how it is told.
type Refusal struct {
	Status  int
	Kind    agentpoll.ErrorKind
	Message string
}

func (r *Refusal) Error() string { return r.Message }

// told says how the errors are told that somebody foresaw. Those of 5xx and 424 are an operator's business.
var told = []struct {
	err error
	Refusal
}{
	{server.ErrUnauthorized, Refusal{http.StatusUnauthorized, "unauthorized", server.ErrUnauthorized.Error()}},
	{server.ErrLocked, Refusal{http.StatusForbidden, "locked", server.ErrLocked.Error()}},
	{ErrNone, Refusal{http.StatusNotFound, agentpoll.NotFound, ErrNone.Error()}},
	{blobstore.ErrNotFound, Refusal{http.StatusNotFound, agentpoll.NotFound, ErrNone.Error()}},
	{ErrNotNow, Refusal{http.StatusConflict, agentpoll.Conflict, ErrNotNow.Error()}},
	{errNoPlace, Refusal{http.StatusNotImplemented, agentpoll.Unsupported, errNoPlace.Error()}},
	{blobstore.ErrFull, Refusal{http.StatusInsufficientStorage, agentpoll.Full, agentpoll.StoreFull}},
	{blobstore.ErrDenied, Refusal{http.StatusFailedDependency, agentpoll.Unavailable, agentpoll.StoreDenies}},
}

// refuse tells an error. What nobody foresaw is 503: the agent asks again, the log says what it was.
func (t *transfer) refuse(err error) {
	refusal := Refusal{http.StatusServiceUnavailable, "unavailable", "the call could not be served: ask again"}
	if own, ok := errors.AsType[*Refusal](err); ok {
		refusal = *own
	}
	for _, known := range told {
		if errors.Is(err, known.err) {
			refusal = known.Refusal
			break
		}
	}
	switch refusal.Status {
	case http.StatusServiceUnavailable, http.StatusInsufficientStorage, http.StatusFailedDependency:
		if t.r.Context().Err() == nil {
			t.Log.Error("a segment could not be served", "method", t.r.Method, "path", t.r.URL.Path, "agent_id", t.agentID, "err", err)
		}
	}
	if refusal.Status == http.StatusServiceUnavailable || refusal.Status == http.StatusUnauthorized {
		t.w.Header().Set("Retry-After", strconv.Itoa(2+rand.IntN(4)))
	}
	t.w.Header().Set("Content-Type", "application/json")
	t.answer(refusal.Status)
	_ = json.NewEncoder(t.w).Encode(agentpoll.ErrorReply{Error: agentpoll.Error{Kind: refusal.Kind, Message: refusal.Message}})
}
