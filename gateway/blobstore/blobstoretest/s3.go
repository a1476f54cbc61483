// Package blobstoretest runs an S3 server for the tests of whatever keeps blobs in one.
package blobstoretest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
)

// Server is a running S3 server, with no bucket. Its buckets are in the path of a URL, not in the host's name.
type Server struct {
	Endpoint  string // URL
	AccessKey string
	SecretKey string
}

const (
	// versityVersion is that of versitygw, which keeps objects as files.
	versityVersion = "v1.8.0"
	accessKey      = "coffer-test"
	secretKey      = "nobody-else-uses-this"
	startTimeout   = 20 * time.Second
)

// S3 runs a server on a directory of its own until the test ends. The first call on a machine builds the server, from the Go
// module proxy, into the user's cache.
func S3(t testing.TB) Server {
	t.Helper()
	return S3In(t, t.TempDir())
}

// S3In is S3 that keeps the objects in a directory.
func S3In(t testing.TB, dir string) Server {
	t.Helper()
	program, err := versitygw()
	if err != nil {
		t.Fatalf("the S3 server of these tests cannot be built (it comes from the Go module proxy): %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	var log bytes.Buffer
	cmd := exec.Command(program, "--quiet", "--port", address, "posix", "--sidecar", t.TempDir(), dir)
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
	if err := answers(address); err != nil {
		t.Fatalf("the S3 server does not answer: %v", err)
	}
	return Server{Endpoint: "http://" + address, AccessKey: accessKey, SecretKey: secretKey}
}

// versitygw returns where the server is, after building it when it is not there.
func versitygw() (program string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "coffer-test", "versitygw-"+versityVersion)
	program = filepath.Join(dir, "versitygw")
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	building, err := os.MkdirTemp(dir, "building-") // the tests of another package may build it, too
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(building)
	build := exec.Command("go", "install", "github.com/versity/versitygw/cmd/versitygw@"+versityVersion)
	build.Env = append(os.Environ(), "GOBIN="+building, "GOFLAGS=", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return program, os.Rename(filepath.Join(building, "versitygw"), program)
}

// answers waits until somebody listens.
func answers(address string) error {
	var err error
	until.Holds(startTimeout, func() bool {
		var conn net.Conn
		if conn, err = net.Dial("tcp", address); err == nil {
			err = conn.Close()
		}
		return err == nil
	})
	return err
}
