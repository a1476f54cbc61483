package server

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
)

// answer is how a poll ends: 200 when there is something to tell, else 204 with the cursor in a header.
type answer struct {
	agentpoll.PollReply
	last bool // the connection is closed after it
}

func (a answer) tells() bool { return len(a.Commands) > 0 || len(a.Cancelled) > 0 }

// response is the answer in HTTP.
func (a answer) response() (*http.Response, error) {
	r := &http.Response{ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Close: a.last}
	r.Header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	if !a.tells() {
		r.StatusCode = http.StatusNoContent
		r.Header.Set(agentpoll.HeaderCursor, a.Cursor.String())
		r.Header.Set(agentpoll.HeaderHold, strconv.FormatInt(a.Hold, 10))
		return r, nil
	}
	body, err := json.Marshal(a.PollReply)
	if err != nil {
		return nil, err
	}
	r.StatusCode = http.StatusOK
	r.Header.Set("Content-Type", "application/json")
	r.ContentLength = int64(len(body))
	r.Body = io.NopCloser(bytes.NewReader(body))
	return r, nil
}

// writeTo writes the answer as a handler does.
func (a answer) writeTo(w http.ResponseWriter) error {
	r, err := a.response()
	if err != nil {
		return err
	}
	header := w.Header()
	for name, values := range r.Header {
		header[name] = values
	}
	if a.last {
		header.Set("Connection", "close")
	}
	w.WriteHeader(r.StatusCode)
	if r.Body != nil {
		_, _ = io.Copy(w, r.Body) // the peer may be gone
	}
	return nil
}

// bytes is the answer as it goes over a hijacked connection.
func (a answer) bytes() ([]byte, error) {
	r, err := a.response()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
