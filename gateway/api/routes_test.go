package api

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/limits"
)

// A handler that panics has its call answered with 500 and the request's id; of an answer that has begun the client sees that it is cut off.
func TestPanic(t *testing.T) {
	var log bytes.Buffer
	l, err := limits.New()
	if err != nil {
		t.Fatal(err)
	}
	plane := &control.Plane{Config: control.Config{Log: slog.New(slog.NewTextHandler(&log, nil)), Limits: l}}
	a := New(Config{Control: plane, Answered: func(string, string, int, time.Duration) {}})
	e := echo.New()
	e.HTTPErrorHandler = a.writeError
	e.Use(a.observeRequests)
	e.GET("/at-once", func(echo.Context) error { panic("no luck") })
	e.GET("/late", func(c echo.Context) error {
		_ = c.String(http.StatusOK, "half of it")
		panic("no luck")
	})
	w := httptest.NewRecorder()
	e.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/at-once", nil))
	if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), w.Header().Get(headerRequestID)) || strings.Contains(w.Body.String(), "luck") {
		t.Errorf("answered with %d %s", w.Code, w.Body)
	}
	if !strings.Contains(log.String(), "no luck") || !strings.Contains(log.String(), "routes_test.go") {
		t.Errorf("the log says %s", &log)
	}
	defer func() {
		if recover() == nil {
			t.Error("half an answer ended as if it were whole")
		}
	}()
	e.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/late", nil))
}
