package segments

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/gateway/blobstore"
)

var hexSHA256 = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (t *transfer) put() error {
	size, sum := t.r.ContentLength, t.r.Header.Get(agentpoll.HeaderSHA256)
	switch {
	case size < 0:
		return &Refusal{http.StatusLengthRequired, agentpoll.Invalid, "a segment needs a Content-Length"}
	case size > t.mostBytes():
		t.Refused("segment")
		return &Refusal{http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("a segment may have %d bytes", t.mostBytes())}
	case t.Most >= 0 && t.number > t.Most:
		t.Refused(t.Limit)
		return &Refusal{http.StatusRequestEntityTooLarge, agentpoll.Full, fmt.Sprintf("there may be %d of them: limit %s", t.Most, t.Limit)}
	case !hexSHA256.MatchString(sum):
		return &Refusal{http.StatusBadRequest, agentpoll.Invalid, "a segment needs its SHA-256 in " + agentpoll.HeaderSHA256}
	}
	if p, ok := t.Blobs.(blobstore.Presigner); ok && t.Presign {
		return t.redirect(p.PresignPut(t.r.Context(), t.name, size))
	}
	body := &flow{control: http.NewResponseController(t.w), r: t.r.Body, w: t.w}
	ctx, cancel := context.WithTimeout(t.r.Context(), storeTimeout+time.Duration(size>>10)*time.Second) // 1 KiB/s and more
	defer cancel()
	if err := t.Blobs.Put(ctx, t.name, size, sum, body); err != nil {
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
	if t.number == 0 {
		return min(t.Index, agentpoll.MaxSegment)
	}
	return min(t.Size, agentpoll.MaxSegment)
}

func (t *transfer) get() error {
	if p, ok := t.Blobs.(blobstore.Presigner); ok && t.Presign {
		return t.redirect(p.PresignGet(t.r.Context(), t.name))
	}
	blob, size, err := t.Blobs.Get(t.r.Context(), t.name)
	if err != nil {
		return err
	}
	defer blob.Close()
	t.w.Header().Set("Content-Type", "application/octet-stream")
	t.w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	t.answer(http.StatusOK)
	to := &flow{control: http.NewResponseController(t.w), w: t.w}
	if n, err := io.Copy(to, blob); err != nil || n != size {
		t.Log.Debug("a segment was not sent to its end", "blob", t.name, "sent", n, "size", size, "err", err)
		panic(http.ErrAbortHandler) // nothing else tells the agent that this was not all
	}
	return nil
}

func (t *transfer) deleteAll() error {
	if err := t.Blobs.DeleteAll(t.r.Context(), t.name); err != nil {
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
		return &Refusal{http.StatusUnprocessableEntity, agentpoll.Invalid, "the segment was damaged on the way: " + blobstore.ErrDamaged.Error()}
	case f.err != nil && f.err != io.EOF:
		return &Refusal{http.StatusRequestTimeout, agentpoll.Invalid, "the segment did not come to its end"}
	}
	return err
}
