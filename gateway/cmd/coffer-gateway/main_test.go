package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
		{[]string{"not loopback", "-tls-cert"}, []string{"-listen", "0.0.0.0:8779"}},
		{[]string{"loopback", "-unauthenticated"}, []string{"-listen", "0.0.0.0:8779", "-insecure-http", "-unauthenticated"}},
		{[]string{"go together"}, []string{"-tls-cert", "cert.pem"}},
		{[]string{"nobody could log in"}, []string{"-identity", "none"}},
		{[]string{"builtin or none", "1s to 10m"}, []string{"-identity", "ldap", "-hold", "1ms"}},
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

// TestRun starts the whole program twice in the same directory: the password is told at the first start only.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	for start, wantPassword := range []bool{true, false} {
		ctx, cancel := context.WithCancel(t.Context())
		out, in := io.Pipe()
		var logs bytes.Buffer
		ended := make(chan error, 1)
		go func() {
			err := run(ctx, []string{"-listen", "127.0.0.1:0", "-etcd-listen", "127.0.0.1:0", "-data-dir", dir}, in, &logs)
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
		if password != wantPassword {
			t.Errorf("start %d: a password was told: %t", start, password)
		}
		for _, path := range []string{"/readyz", "/identity/v3"} {
			resp, err := http.Get(url + path)
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
