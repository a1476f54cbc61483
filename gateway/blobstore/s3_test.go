package blobstore

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// versitygw is a real S3 server, built once for this machine.
const (
	versityVersion = "v1.8.0"
	accessKey      = "coffer-test"
	secretKey      = "nobody-else-uses-this"
)

func versitygw(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "coffer-test", "versitygw-"+versityVersion)
	program := filepath.Join(dir, "versitygw")
	if _, err := os.Stat(program); err == nil {
		return program
	}
	build := exec.Command("go", "install", "github.com/versity/versitygw/cmd/versitygw@"+versityVersion)
	build.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("the S3 server of these tests cannot be built (it comes from the Go module proxy): %v\n%s", err, out)
	}
	return program
}

// s3Server runs a server on a directory until the test ends, and returns its URL.
func s3Server(t *testing.T) string {
	t.Helper()
	program := versitygw(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	var log bytes.Buffer
	cmd := exec.Command(program, "--quiet", "--port", address, "posix", "--sidecar", t.TempDir(), t.TempDir())
	cmd.Env = []string{"ROOT_ACCESS_KEY=" + accessKey, "ROOT_SECRET_KEY=" + secretKey, "HOME=" + t.TempDir()}
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the S3 server: %s", &log)
		}
	})
	for limit := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
			return "http://" + address
		}
		if time.Now().After(limit) {
			t.Fatalf("the S3 server does not answer: %v", err)
		}
	}
}

func TestS3(t *testing.T) {
	endpoint := s3Server(t)
	config := S3Config{Endpoint: endpoint, Bucket: "coffer", Prefix: "some/place", AccessKey: accessKey, SecretKey: secretKey, PathStyle: true}
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
	s, err := OpenS3(t.Context(), S3Config{Endpoint: s3Server(t), Bucket: "coffer", AccessKey: accessKey, SecretKey: secretKey, PathStyle: true, Create: true})
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
