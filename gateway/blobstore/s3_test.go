package blobstore

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/gateway/blobstore/blobstoretest"
)

// bucket is one on a server of this test's own.
func bucket(t *testing.T) S3Config {
	t.Helper()
	server := blobstoretest.S3(t)
	return S3Config{Endpoint: server.Endpoint, Bucket: "coffer", AccessKey: server.AccessKey, SecretKey: server.SecretKey, PathStyle: true}
}

func TestS3(t *testing.T) {
	config := bucket(t)
	config.Prefix = "some/place"
	if _, err := OpenS3(t.Context(), config); err == nil || !strings.Contains(err.Error(), "coffer") {
		t.Errorf("a bucket that is not there: %v", err)
	}
	config.Create = true
	for range 2 { // made, and there
		s, err := OpenS3(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		suite(t, s)
	}
	config.SecretKey = "wrong"
	if _, err := OpenS3(t.Context(), config); err == nil || strings.Contains(err.Error(), "wrong") {
		t.Errorf("with a wrong key: %v", err)
	}
}

func TestS3Presigned(t *testing.T) {
	config := bucket(t)
	config.Create = true
	s, err := OpenS3(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, body := t.Context(), noise(100_000)
	call := func(method, url string, body []byte, digest [md5.Size]byte) (int, []byte) {
		t.Helper()
		req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if method == http.MethodPut {
			req.Header.Set("Content-MD5", base64.StdEncoding.EncodeToString(digest[:]))
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, got
	}
	signed := func(f func() (string, error)) string {
		t.Helper()
		u, err := f()
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	putURL := signed(func() (string, error) { return s.PresignPut(ctx, "backups/p/id/00000001", int64(len(body))) })
	if !strings.Contains(putURL, "X-Amz-Expires=120&") {
		t.Errorf("a PUT is signed for longer than two minutes: %s", putURL)
	}
	getURL := signed(func() (string, error) { return s.PresignGet(ctx, "backups/p/id/00000001") })
	if status, _ := call(http.MethodGet, getURL, nil, [16]byte{}); status != http.StatusNotFound {
		t.Errorf("a blob that is not there: %d", status)
	}
	if status, answer := call(http.MethodPut, putURL, body, md5.Sum(body[1:])); status < 400 {
		t.Errorf("damaged bytes: %d %s", status, answer)
	}
	if status, answer := call(http.MethodPut, putURL, body[1:], md5.Sum(body[1:])); status < 400 {
		t.Errorf("another size: %d %s", status, answer)
	}
	if status, answer := call(http.MethodPut, putURL, body, md5.Sum(body)); status != http.StatusOK {
		t.Errorf("PUT: %d %s", status, answer)
	}
	if status, got := call(http.MethodGet, getURL, nil, [16]byte{}); status != http.StatusOK || !bytes.Equal(got, body) {
		t.Errorf("GET: %d, %d bytes", status, len(got))
	}
	if status, _ := call(http.MethodPut, getURL, body, md5.Sum(body)); status < 400 {
		t.Error("the URL of a GET took a PUT")
	}
	if status, _ := call(http.MethodGet, strings.Replace(getURL, "00000001", "00000002", 1), nil, [16]byte{}); status != http.StatusForbidden {
		t.Errorf("another blob: %d", status)
	}
	if got, err := get(s, "backups/p/id/00000001"); err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestS3ConfigRefused(t *testing.T) {
	for _, endpoint := range []string{"", "s3.example.com", "ftp://x", "https://", "https://x/path", "https://user:secret@x"} {
		if _, err := OpenS3(context.Background(), S3Config{Endpoint: endpoint, Bucket: "b"}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Error(fmt.Sprintf("%q", endpoint), err)
		}
	}
}
