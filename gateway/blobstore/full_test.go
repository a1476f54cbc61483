package blobstore

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/cofferdb/coffer/gateway/blobstore/blobstoretest"
)

// full fills a store with room for less than 4 MB. What did not fit is not there, and takes no room.
func full(t *testing.T, s Store) {
	t.Helper()
	large, small := noise(3<<20), noise(1<<20)
	if err := put(s, "b/p/1/00000001", large); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := put(s, "b/p/2/00000001", large); !errors.Is(err, ErrFull) {
			t.Errorf("a store without room: %v", err)
		}
	}
	if _, err := get(s, "b/p/2/00000001"); !errors.Is(err, ErrNotFound) {
		t.Errorf("what did not fit: %v", err)
	}
	if err := s.DeleteAll(t.Context(), "b/p/1"); err != nil {
		t.Errorf("nothing can be deleted in a full store: %v", err)
	}
	for _, name := range []string{"b/p/3/00000001", "b/p/3/00000002"} {
		if err := put(s, name, small); err != nil {
			t.Errorf("with room again: %v", err)
		}
	}
}

func TestFullDir(t *testing.T) {
	dir := blobstoretest.Small(t, 4<<10)
	full(t, openDir(t, dir))
	if left, err := os.ReadDir(filepath.Join(dir, incoming)); err != nil || len(left) > 0 {
		t.Errorf("%d parts are left, %v", len(left), err)
	}
}

func TestFullS3(t *testing.T) {
	server := blobstoretest.S3In(t, blobstoretest.Small(t, 4<<10))
	s, err := OpenS3(t.Context(), S3Config{Endpoint: server.Endpoint, Bucket: "coffer", AccessKey: server.AccessKey, SecretKey: server.SecretKey, PathStyle: true, Create: true})
	if err != nil {
		t.Fatal(err)
	}
	full(t, s)
}

// TestS3ThatTakesNothing has a server that knows a bucket, and answers everything else as it is told.
func TestS3ThatTakesNothing(t *testing.T) {
	var status, size int
	code := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		switch {
		case r.URL.Path == "/coffer/":
		case r.Method == http.MethodHead && status == 0:
			w.Header().Set("Content-Length", strconv.Itoa(size))
			w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
		case status != 0:
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "<Error><Code>"+code+"</Code><Message>no</Message></Error>")
		}
	}))
	defer server.Close()
	s, err := OpenS3(t.Context(), S3Config{Endpoint: server.URL, Bucket: "coffer", AccessKey: "a", SecretKey: "s", PathStyle: true})
	if err != nil {
		t.Fatal(err)
	}
	body := noise(1000)
	for _, c := range []struct {
		status int
		code   string
		want   error
	}{
		{403, "AccessDenied", ErrDenied}, {403, "QuotaExceeded", ErrFull}, {404, "NoSuchBucket", ErrDenied}, {507, "XMinioStorageFull", ErrFull},
	} {
		status, code = c.status, c.code
		if err := put(s, "a/1", body); !errors.Is(err, c.want) {
			t.Errorf("put, %d %s: %v", c.status, c.code, err)
		}
		if _, err := get(s, "a/1"); errors.Is(c.want, ErrDenied) && !errors.Is(err, ErrDenied) {
			t.Errorf("get, %d %s: %v", c.status, c.code, err)
		}
	}
	// What a server says that it has stored is looked at.
	status = 0
	for _, there := range []int{len(body), len(body) - 1, 0} {
		size = there
		if err := put(s, "a/1", body); (err == nil) != (there == len(body)) {
			t.Errorf("a server that has %d of %d bytes: %v", there, len(body), err)
		}
	}
}
