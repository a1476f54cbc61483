package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDownBesideUp: whoever takes everything down while it runs is told what to do first, and nothing is touched.
func TestDownBesideUp(t *testing.T) {
	bin, dir := t.TempDir(), t.TempDir()
	for _, program := range []string{"coffer-gateway", "coffer-host", "guests"} {
		if err := os.WriteFile(filepath.Join(bin, program), nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	up, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	var out bytes.Buffer
	args := []string{"down", "--dir", dir, "--bin", bin, "--listen", up.Addr().String(), "--etcd-listen", "127.0.0.1:0"}
	if code := runAs(t, args, &out, func(string) string { return "" }); code != 1 || !strings.Contains(out.String(), "stop it with Ctrl-C and try again") {
		t.Errorf("exit code %d, %s", code, &out)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("something was made: %v", left)
	}
}
