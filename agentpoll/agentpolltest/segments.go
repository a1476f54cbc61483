package agentpolltest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/server"
)

// segments are what agents have sent beside results: the segments of backups and the chunks of logs. Backend.mu guards it.
type segments struct {
	bodies map[string]map[int][]byte // by "backups/<id>", or "logs/<agent>/<log>"
	fault  []int                     // of the next calls; a negative one cuts them
	closed map[string]bool           // backups that answer 409
}

// Segments returns a copy of what there is of a backup, by number; 0 is its index.
func (b *Backend) Segments(backupID string) map[int][]byte { return b.stored("backups/" + backupID) }

// LogChunks returns a copy of what an agent has published of a log.
func (b *Backend) LogChunks(agentID, log string) map[int][]byte {
	return b.stored("logs/" + agentID + "/" + log)
}

func (b *Backend) stored(place string) map[int][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := map[int][]byte{}
	for n, body := range b.segments.bodies[place] {
		all[n] = bytes.Clone(body)
	}
	return all
}

// WaitSegments returns what there is of a backup as soon as there are at least n segments, the index included.
func (b *Backend) WaitSegments(ctx context.Context, backupID string, n int) (map[int][]byte, error) {
	err := b.wait(ctx, fmt.Sprintf("%d segments of %s", n, backupID), func() bool {
		return len(b.segments.bodies["backups/"+backupID]) >= n
	})
	return b.Segments(backupID), err
}

// SetSegments replaces what there is of a backup: damage it between Segments and SetSegments. nil removes it.
func (b *Backend) SetSegments(backupID string, bodies map[int][]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.put("backups/"+backupID, maps.Clone(bodies))
}

// put sets all of a place. b.mu must be held.
func (b *Backend) put(place string, bodies map[int][]byte) {
	if b.segments.bodies == nil {
		b.segments.bodies = map[string]map[int][]byte{}
	}
	b.segments.bodies[place] = bodies
}

// CloseBackup makes every call for a backup be refused with 409, as when it is being deleted.
func (b *Backend) CloseBackup(backupID string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.segments.closed == nil {
		b.segments.closed = map[string]bool{}
	}
	b.segments.closed["backups/"+backupID] = true
}

// FailSegments makes the next n calls for segments and chunks be answered with status, and other calls not. Status -1 cuts
// the connection instead, in the middle of the answer when it has a body.
func (b *Backend) FailSegments(n, status int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range n {
		b.segments.fault = append(b.segments.fault, status)
	}
}

func (b *Backend) nextSegmentFault() (status int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f := b.segments.fault; len(f) > 0 {
		status, b.segments.fault = f[0], f[1:]
	}
	return status
}

// withSegments serves segments and chunks beside what the gateway does.
func (s *Server) withSegments(gateway *server.Server) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", gateway.Handler())
	for pattern, place := range map[string]func(r *http.Request, agentID string) string{
		"PUT " + agentpoll.PathSegment:    backupPlace,
		"GET " + agentpoll.PathSegment:    backupPlace,
		"PUT " + agentpoll.PathLogChunk:   logPlace,
		"DELETE " + "/agent/v1/logs/{id}": logPlace,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			switch status := s.nextSegmentFault(); {
			case status > 0:
				http.Error(w, http.StatusText(status), status)
				return
			case status < 0:
				w = &half{w}
			}
			agentID, err := gateway.Authenticate(r)
			if err != nil {
				answerError(w, http.StatusUnauthorized, "unauthorized", err.Error())
				return
			}
			s.serveSegment(w, r, place(r, agentID))
		})
	}
	return mux
}

func backupPlace(r *http.Request, _ string) string { return "backups/" + r.PathValue("id") }
func logPlace(r *http.Request, agentID string) string {
	return "logs/" + agentID + "/" + r.PathValue("id")
}

func (b *Backend) serveSegment(w http.ResponseWriter, r *http.Request, place string) {
	n, err := strconv.Atoi(r.PathValue("n"))
	if err != nil && r.Method != http.MethodDelete {
		answerError(w, http.StatusNotFound, agentpoll.NotFound, "want a number")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, agentpoll.MaxSegment))
	if err != nil {
		answerError(w, http.StatusRequestEntityTooLarge, "too_large", err.Error())
		return
	}
	if sum := sha256.Sum256(body); r.Method == http.MethodPut && r.Header.Get(agentpoll.HeaderSHA256) != hex.EncodeToString(sum[:]) {
		answerError(w, http.StatusUnprocessableEntity, agentpoll.Invalid, "damaged on the way")
		return
	}
	status, stored := b.exchange(r.Method, place, n, body)
	switch status {
	case http.StatusOK:
		w.Header().Set("Content-Length", strconv.Itoa(len(stored)))
		_, _ = w.Write(stored)
	case http.StatusNoContent:
		w.WriteHeader(status)
	case http.StatusConflict:
		answerError(w, status, agentpoll.Conflict, "the backup is neither being made nor restored")
	default:
		answerError(w, status, agentpoll.NotFound, "there is no such segment")
	}
}

func (b *Backend) exchange(method, place string, n int, body []byte) (status int, stored []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	stored, ok := b.segments.bodies[place][n]
	switch {
	case b.segments.closed[place]:
		return http.StatusConflict, nil
	case method == http.MethodDelete:
		b.put(place, nil)
		return http.StatusNoContent, nil
	case method == http.MethodPut:
		if b.segments.bodies[place] == nil {
			b.put(place, map[int][]byte{})
		}
		b.segments.bodies[place][n] = body
		b.notify()
		return http.StatusNoContent, nil
	case !ok:
		return http.StatusNotFound, nil
	}
	return http.StatusOK, stored
}

func answerError(w http.ResponseWriter, status int, kind agentpoll.ErrorKind, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(agentpoll.ErrorReply{Error: agentpoll.Error{Kind: kind, Message: message}})
}

// half sends half of a body, or no answer at all, and closes the connection. The call has its effect.
type half struct{ http.ResponseWriter }

func (h *half) WriteHeader(int) { panic(http.ErrAbortHandler) }

func (h *half) Write(p []byte) (int, error) {
	_, _ = h.ResponseWriter.Write(p[:len(p)/2])
	_ = http.NewResponseController(h.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}
