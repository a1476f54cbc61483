package limits

import (
	"io"
	"net/http"
	"time"
)

// InTime gives a request's body a deadline: who sends it slowly gets 408, and holds nothing afterwards.
func (l *Limits) InTime(w http.ResponseWriter, r *http.Request) {
	seconds := l.Value("body_seconds")
	if r.ContentLength == 0 || seconds < 0 {
		return
	}
	control := http.NewResponseController(w)
	if control.SetReadDeadline(time.Now().Add(time.Duration(seconds)*time.Second)) == nil {
		r.Body = &timedBody{r.Body, control}
	}
}

// timedBody is a body with a deadline. Before its end the deadline stays, or net/http would wait for what is left of a body that
// nobody wants.
type timedBody struct {
	io.ReadCloser
	control *http.ResponseController
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.control.SetReadDeadline(time.Time{}) // from here on net/http looks for the client's hanging up
	}
	return n, err
}
