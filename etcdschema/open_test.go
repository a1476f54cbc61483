package etcdschema

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestVersionFloor(t *testing.T) {
	for version, want := range map[string]struct {
		err, warned bool
	}{
		"3.3.27": {err: true},
		"3.4.23": {warned: true},
		"3.5.32": {warned: true}, "3.5.33": {},
		"3.6.13": {warned: true}, "3.6.14": {},
		"3.7.0": {warned: true}, "3.7.1": {}, "3.8.0": {}, "4.0.0": {},
		"3.7.0-rc.0": {warned: true},
		"latest":     {err: true},
	} {
		var log bytes.Buffer
		err := checkVersion(version, slog.New(slog.NewTextHandler(&log, nil)))
		if (err != nil) != want.err || (log.Len() > 0) != want.warned {
			t.Errorf("etcd %s: error %v, log %q", version, err, &log)
		}
	}
}

func TestOpenUnreachable(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := Open(ctx, Config{Endpoints: []string{"http://127.0.0.1:1"}, Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("Open of an etcd that is not there: %v", err)
	}
}
