package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"
)

func TestRun(t *testing.T) {
	out, err := Run(t.Context(), []string{"cat"}, RunOptions{Stdin: strings.NewReader("s3cret")})
	if err != nil || string(out) != "s3cret" {
		t.Errorf("cat = %q, %v", out, err)
	}
	_, err = Run(t.Context(), []string{"ls", "/does/not/exist"}, RunOptions{})
	var failure *Failure
	if !errors.As(err, &failure) || !strings.Contains(failure.Words, "No such file") || strings.Contains(err.Error(), "No such file") {
		t.Errorf("ls = %v (%+v), want what it said beside the error's text", err, failure)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := Run(ctx, []string{"sleep", "60"}, RunOptions{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("sleep = %v, want the deadline", err)
	}
}

func TestRunStreamsItsOutput(t *testing.T) {
	var b strings.Builder
	out, err := Run(t.Context(), []string{"seq", "200000"}, RunOptions{Stdout: &b})
	if err != nil || len(out) > 0 || b.Len() != 1288895 { // more than what is kept otherwise
		t.Errorf("seq wrote %d bytes, returned %d, %v", b.Len(), len(out), err)
	}
	_, err = Run(t.Context(), []string{"yes"}, RunOptions{Stdout: full{}})
	if !errors.Is(err, errFull) {
		t.Errorf("yes = %v, want why nothing could be written", err)
	}
}

// TestRunSaysWhyItsInputEnded: a program that sees an end takes it for the whole.
func TestRunSaysWhyItsInputEnded(t *testing.T) {
	for _, argv := range [][]string{{"cat"}, {"grep", "x"}} { // the second fails by itself
		input := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(errFull))
		if _, err := Run(t.Context(), argv, RunOptions{Stdin: input}); !errors.Is(err, errFull) {
			t.Errorf("%s = %v, want why its input ended", argv[0], err)
		}
	}
	if _, err := Run(t.Context(), []string{"true"}, RunOptions{Stdin: strings.NewReader(strings.Repeat("x", 1<<20))}); err != nil {
		t.Errorf("true = %v, though it may leave its input alone", err)
	}
}

var errFull = errors.New("full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestRunAsAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can change its user")
	}
	out, err := Run(t.Context(), []string{"id"}, RunOptions{Credential: Credential(65534, 65534)})
	if err != nil || strings.Contains(string(out), "root") {
		t.Errorf("id = %q, %v", out, err)
	}
}

// TestRunNamed: the user of an instance, who has no name, has one for the program, and the files are the user's own.
func TestRunNamed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can change its user")
	}
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chown(dir, 54321, 54321)); err != nil {
		t.Fatal(err)
	}
	opts := RunOptions{Credential: Credential(54321, 54321), Named: true}
	if out, err := Run(t.Context(), []string{"id", "-un"}, opts); err != nil || string(out) != "daemon\n" {
		t.Errorf("id -un = %q, %v", out, err)
	}
	if _, err := Run(t.Context(), []string{"touch", dir + "/f"}, opts); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir + "/f")
	if err != nil || info.Sys().(*syscall.Stat_t).Uid != 54321 {
		t.Errorf("the file: %+v, %v", info, err)
	}
}

// TestRunKeepsItsLastWords: some programs complain where others write what they were asked for.
func TestRunKeepsItsLastWords(t *testing.T) {
	var failure *Failure
	_, err := Run(t.Context(), []string{"sh", "-c", "echo cannot; exit 1"}, RunOptions{})
	if !errors.As(err, &failure) || failure.Words != "cannot" {
		t.Errorf("got %v, %+v", err, failure)
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	w := &tail{max: 5}
	for _, s := range []string{"abc", "defg", "hijklmnop", "q"} {
		if n, err := w.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatal(n, err)
		}
	}
	if string(w.buf) != "mnopq" {
		t.Errorf("kept %q", w.buf)
	}
}

func TestParseInstalled(t *testing.T) {
	got := parseInstalled([]byte("installed redis-server\nconfig-files mariadb-server\nnot-installed etcd-server\n"))
	if len(got) != 1 || got[0] != "redis-server" {
		t.Errorf("installed: %v", got)
	}
}

func TestPackagesThatAreThere(t *testing.T) {
	if _, err := os.Stat("/usr/bin/dpkg-query"); err != nil {
		t.Skip("not a Debian system")
	}
	if err := System("").Install(t.Context(), []string{"dpkg", "base-files"}, func(missing []string) { t.Errorf("it installs %q", missing) }); err != nil {
		t.Error(err)
	}
	missing, err := System("").Missing(t.Context(), []string{"dpkg", "coffer-no-such-package"})
	if err != nil || len(missing) != 1 || missing[0] != "coffer-no-such-package" {
		t.Errorf("missing: %v, %v", missing, err)
	}
}

func TestHoldServices(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy-rc.d")
	for name, c := range map[string]struct{ before, after string }{
		"none":                         {"", ""},
		"left behind by a killed host": {policy, ""},
		"an operator's":                {"#!/bin/sh\nexit 0\n", "#!/bin/sh\nexit 0\n"},
	} {
		t.Run(name, func(t *testing.T) {
			_ = os.Remove(file)
			if c.before != "" {
				if err := os.WriteFile(file, []byte(c.before), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			release, err := holdServices(file)
			if err != nil {
				t.Fatal(err)
			}
			if b, _ := os.ReadFile(file); len(b) == 0 {
				t.Error("no policy while packages are installed")
			}
			release()
			if b, _ := os.ReadFile(file); string(b) != c.after {
				t.Errorf("afterwards the policy is %q, want %q", b, c.after)
			}
		})
	}
}

// TestRunAlone looks at what a program that is run alone is and has, from where nobody gets to.
func TestRunAlone(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root becomes nobody")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	run := func(ctx context.Context, script string) (string, error) {
		path := filepath.Join(dir, "program")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		out, err := Run(ctx, []string{path, "describe"}, RunOptions{Alone: true})
		return strings.TrimSpace(string(out)), err
	}
	setuid := filepath.Join(t.TempDir(), "id")
	if err := os.Chmod(filepath.Dir(filepath.Dir(setuid)), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("install", "-m", "4755", "/usr/bin/id", setuid).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for script, want := range map[string]string{
		setuid + " -u":        "65534",
		"id -u; id -g; id -G": "65534\n65534\n65534",
		"echo $1 $$":          "describe 1",
		"cut -d: -f1 /proc/self/net/dev | tail -n +3 | tr -d ' '":        "lo",
		"grep ^CapEff /proc/self/status; grep ^CapPrm /proc/self/status": "CapEff:\t0000000000000000\nCapPrm:\t0000000000000000",
	} {
		if got, err := run(t.Context(), script); got != want || err != nil {
			t.Errorf("%s: %q %v, want %q", script, got, err, want)
		}
	}
	if out, err := run(t.Context(), "exec head -c 9000000 /dev/zero"); len(out) > maxOutput || err != nil {
		t.Errorf("%d bytes were kept (err %v)", len(out), err)
	}
	mark := fmt.Sprintf("3%d", time.Now().UnixNano()%1e9) // a time that no other process waits for
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := run(ctx, "setsid sleep "+mark+" & trap '' TERM; sleep "+mark); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a program that does not end: %v", err)
	}
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		if text, _ := os.ReadFile(file); strings.Contains(string(text), "sleep\x00"+mark) {
			t.Errorf("%s is left", file)
		}
	}
}
