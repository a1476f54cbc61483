package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/gateway/blobstore"
)

func TestSettingsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "settings.yaml")
	if err := os.WriteFile(file, []byte("lisen: 127.0.0.1:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, r := range []struct {
		says []string
		args []string
	}{
		{[]string{"leave -tls-cert"}, []string{"-insecure-http", "-tls-cert", "c.pem", "-tls-key", "c.key"}},
		{[]string{"leave them out with -tls-cert"}, []string{"-tls-names", "x", "-tls-cert", "c.pem", "-tls-key", "c.key"}},
		{[]string{"loopback", "-unauthenticated"}, []string{"-listen", "0.0.0.0:8779", "-insecure-http", "-unauthenticated"}},
		{[]string{"go together"}, []string{"-tls-cert", "cert.pem"}},
		{[]string{"nobody could log in"}, []string{"-identity", "none"}},
		{[]string{"builtin or none", "1s to 10m"}, []string{"-identity", "ldap", "-hold", "1ms"}},
		{[]string{"one of them"}, []string{"-backup-dir", "x", "-s3-endpoint", "https://x", "-s3-bucket", "b"}},
		{[]string{"-s3-bucket go together", "-s3-secret-key-file go together"}, []string{"-s3-endpoint", "https://x", "-s3-access-key-file", "x"}},
		{[]string{"need -s3-endpoint"}, []string{"-s3-presign"}},
		{[]string{"unexpected argument"}, []string{"serve"}},
		{[]string{`no setting "lisen"`}, []string{"-config", file}},
	} {
		_, err := parse(r.args, io.Discard)
		for _, word := range r.says {
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("%v: %v; want a word of %q", r.args, err, word)
			}
		}
	}
}

// Flags come before the environment, that before the file, that before the default.
func TestSettingsOrder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "settings.yaml")
	if err := os.WriteFile(file, []byte("region: of-the-file\nlisten: 127.0.0.1:1\nhold: 7s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("COFFER_REGION", "of-the-environment")
	t.Setenv("COFFER_LISTEN", "127.0.0.1:2")
	c, err := parse([]string{"-config", file, "-listen", "127.0.0.1:3"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if c.listen != "127.0.0.1:3" || c.region != "of-the-environment" || c.hold.String() != "7s" || c.logLevel != "info" {
		t.Errorf("listen %s, region %s, hold %s, log level %s", c.listen, c.region, c.hold, c.logLevel)
	}
}

// trusting is a client that trusts the CA of a file, and no other.
func trusting(t *testing.T, file string) *http.Client {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		t.Fatalf("%s holds no certificate", file)
	}
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots}}}
}

// TestRun starts the whole program twice in the same directory: it serves with certificates of one CA, and the password is
// told at the first start only.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	var first []byte
	metrics := free(t)
	for start, wantPassword := range []bool{true, false} {
		ctx, cancel := context.WithCancel(t.Context())
		out, in := io.Pipe()
		var logs bytes.Buffer
		ended := make(chan error, 1)
		go func() {
			err := run(ctx, []string{"-listen", "127.0.0.1:0", "-data-dir", dir, "-metrics-listen", metrics}, in, &logs)
			in.CloseWithError(err)
			ended <- err
		}()
		url, password := "", false
		for lines := bufio.NewScanner(out); url == "" && lines.Scan(); {
			password = password || strings.Contains(lines.Text(), "password")
			if rest, ok := strings.CutPrefix(lines.Text(), "serving"); ok {
				url = strings.TrimSpace(rest)
			}
		}
		if url == "" {
			t.Fatalf("start %d: %v", start, <-ended)
		}
		ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
		if err != nil || first != nil && !bytes.Equal(ca, first) {
			t.Errorf("start %d: the CA has changed, %v", start, err)
		}
		first = ca
		if resp, err := http.Get(url + "/readyz"); err == nil {
			resp.Body.Close()
			t.Errorf("start %d: a client that does not know the CA is served", start)
		}
		if password != wantPassword {
			t.Errorf("start %d: a password was told: %t", start, password)
		}
		if resp, err := http.Get("http://" + metrics + "/metrics"); err != nil {
			t.Errorf("start %d: %v", start, err)
		} else {
			resp.Body.Close()
		}
		for _, path := range []string{"/readyz", "/identity/v3"} {
			resp, err := trusting(t, filepath.Join(dir, "ca.pem")).Get(url + path)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("start %d: %s: %s", start, path, resp.Status)
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("start %d: %v", start, err)
		}
		if strings.Contains(logs.String(), `"level":"ERROR"`) {
			t.Errorf("start %d: an error in the log of a good life:\n%s", start, logs.String())
		}
	}
}

// TestFirstPasswordInAFile starts twice: the file is written once, for its owner alone, and nothing of it is printed.
func TestFirstPasswordInAFile(t *testing.T) {
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "password")
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		out, in := io.Pipe()
		ended := make(chan error, 1)
		go func() {
			err := run(ctx, []string{"-listen", "127.0.0.1:0", "-data-dir", dir, "-password-file", file}, in, io.Discard)
			in.CloseWithError(err)
			ended <- err
		}()
		var printed strings.Builder
		for lines := bufio.NewScanner(out); lines.Scan(); {
			printed.WriteString(lines.Text() + "\n")
			if strings.HasPrefix(lines.Text(), "serving") {
				break
			}
		}
		cancel()
		go func() { _, _ = io.Copy(io.Discard, out) }()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		info, _ := os.Stat(file)
		password := strings.TrimSpace(string(text))
		if err != nil || len(password) < 20 || info.Mode().Perm() != 0o600 {
			t.Fatalf("%d bytes, %v, %v", len(password), info, err)
		}
		if strings.Contains(printed.String(), password) {
			t.Error("the password was printed, too")
		}
	}
}

func TestWhereBackupsGo(t *testing.T) {
	dir := t.TempDir()
	empty, key := filepath.Join(dir, "empty"), filepath.Join(dir, "key")
	for file, text := range map[string]string{empty: "\n", key: "secret-of-the-file\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	s3 := []string{"-s3-endpoint", "http://127.0.0.1:1", "-s3-bucket", "backups"}
	for name, c := range map[string]struct {
		args []string
		dir  string // of the backups
		says string // part of the error
	}{
		"etcd inside":   {[]string{"-data-dir", dir}, filepath.Join(dir, "backups"), ""},
		"a directory":   {[]string{"-data-dir", dir, "-etcd-endpoints", "http://x:2379", "-backup-dir", filepath.Join(dir, "own")}, filepath.Join(dir, "own"), ""},
		"none":          {[]string{"-data-dir", dir, "-etcd-endpoints", "http://x:2379"}, "", ""},
		"not a dir":     {[]string{"-data-dir", dir, "-backup-dir", key}, "", "-backup-dir"},
		"no key":        {s3, "", "AWS_ACCESS_KEY_ID"},
		"an empty key":  {append([]string{"-s3-access-key-file", key, "-s3-secret-key-file", empty}, s3...), "", "is empty"},
		"nobody listen": {append([]string{"-s3-access-key-file", key, "-s3-secret-key-file", key}, s3...), "", "connection refused"},
	} {
		cfg, err := parse(c.args, io.Discard)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		store, err := blobs(t.Context(), cfg, slog.New(slog.DiscardHandler))
		if (err != nil) != (c.says != "") || err != nil && (!strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "secret-of")) {
			t.Errorf("%s: %v; want %q", name, err, c.says)
		}
		if _, isDir := store.(*blobstore.Dir); isDir != (c.dir != "") || err == nil && c.dir == "" && store != nil {
			t.Errorf("%s: a store of %T", name, store)
		}
		if c.dir != "" {
			if _, err := os.Stat(c.dir); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
