package gatewaytest

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Programs is a directory of Coffer's programs, built for a test.
type Programs string

// Build builds them, static and stripped as `task build` does: the gateway, the CLI and the host, and below guests/ the guests of the engines.
func Build(t testing.TB) Programs {
	t.Helper()
	return BuildIn(t, t.TempDir())
}

// BuildIn is Build into a directory that may outlive the test.
func BuildIn(t testing.TB, dir string) Programs {
	t.Helper()
	for _, b := range []struct{ out, pkg string }{
		{"", "./gateway/cmd/..."},
		{"", "./deployments/cmd/..."},
		{"guests", "./datastores/redis/cmd/..."},
		{"guests", "./datastores/mongodb/cmd/..."},
		{"guests", "./datastores/couchbase/cmd/..."},
		{"guests", "./datastores/mysql/cmd/..."},
		{"guests", "./datastores/postgresql/cmd/..."},
		{"guests", "./datastores/cassandra/cmd/..."},
	} {
		out := filepath.Join(dir, b.out) + string(filepath.Separator)
		if err := os.MkdirAll(out, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, b.pkg)
		cmd.Dir, cmd.Env = moduleRoot(t), append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", cmd, err, text)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "coffer-host"), 0o755); err != nil { // as it is installed, whatever the umask
		t.Fatal(err)
	}
	return Programs(dir)
}

func moduleRoot(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// Path of a program. An absolute name is its own.
func (p Programs) Path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(string(p), name)
}

// Process is a program that runs for a test.
type Process struct {
	Log  string // file of its standard error
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended

	mu      sync.Mutex
	printed []string // lines of its standard output
}

// Printed is the rest of the first line of the standard output so far that begins with prefix; "" when there is none.
func (p *Process) Printed(prefix string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.printed {
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// Run starts a program and ends it with the test. Its standard output is read up to the line that begins with ready,
// whose rest is returned; ready "" waits for nothing.
func (p Programs) Run(t testing.TB, ready, name string, args ...string) (*Process, string) {
	t.Helper()
	process, word, err := p.Start(LogDir(t), ready, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(process.Stop)
	return process, word
}

// Start is Run for any goroutine: it returns what is wrong, and the caller has to end the process.
func (p Programs) Start(logs, ready, name string, args ...string) (*Process, string, error) {
	log, err := os.CreateTemp(logs, filepath.Base(name)+"-*.log")
	if err != nil {
		return nil, "", err
	}
	cmd := exec.Command(p.Path(name), args...)
	cmd.Stderr = log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := cmd.Start(); err != nil {
		log.Close()
		return nil, "", err
	}
	process := &Process{Log: log.Name(), cmd: cmd, done: make(chan struct{})}
	words := make(chan string, 1)
	go func(ready string) {
		defer close(process.done)
		defer log.Close()
		defer close(words)
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			process.mu.Lock()
			process.printed = append(process.printed, lines.Text())
			process.mu.Unlock()
			if rest, ok := strings.CutPrefix(lines.Text(), ready); ok && ready != "" {
				words <- strings.TrimSpace(rest)
				ready = ""
			}
		}
		_ = cmd.Wait()
	}(ready)
	if ready == "" {
		return process, "", nil
	}
	select {
	case word, ok := <-words:
		if ok {
			return process, word, nil
		}
		text, _ := os.ReadFile(process.Log)
		return nil, "", fmt.Errorf("%s ended before it was ready: %s", name, text)
	case <-time.After(30 * time.Second):
		process.Kill()
		return nil, "", fmt.Errorf("%s was not ready within 30 s", name)
	}
}

// LogDir is where the logs of a test's processes are kept: COFFER_TEST_LOGS, or a directory that goes with the test.
func LogDir(t testing.TB) string {
	if dir := os.Getenv("COFFER_TEST_LOGS"); dir != "" {
		return dir
	}
	return t.TempDir()
}

// PID is its number on this machine.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kill ends the process as kill -9 does, and waits for its end.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Stop asks the process to end, kills it when it has not within 30 s, and waits for its end.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		p.Kill()
	}
}

// Ended reports whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// TokensFile writes the static tokens of this package for a gateway process.
func TokensFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	text := fmt.Sprintf(`tokens:
- {name: admin, token: %q, project: %[5]s, roles: [admin]}
- {name: member, token: %[2]q, project: %[5]s, roles: [member]}
- {name: reader, token: %[3]q, project: %[5]s, roles: [reader]}
- {name: other, token: %[4]q, project: p2, roles: [member]}
`, Admin, Member, Reader, Other, Project)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// KeysFile writes the keys of this package for a gateway process.
func KeysFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte(Keys), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// PutDefinitions puts the built-in definitions into the etcd at endpoint, with the CLI.
func (p Programs) PutDefinitions(t testing.TB, endpoint string) {
	t.Helper()
	cmd := exec.Command(p.Path("coffer"), "definitions", "put", filepath.Join(moduleRoot(t), "deployments", "definitions"), "--etcd-endpoints", endpoint)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, text)
	}
}

// EnrolmentToken asks the gateway at url for a token of a new host.
func EnrolmentToken(t testing.TB, url string) (token, hostID string) {
	t.Helper()
	c := Client{URL: url, Token: Admin, Project: Project}
	a := c.Want(t, http.StatusOK, http.MethodPost, "/mgmt/enrolments", `{"enrolment":{}}`)
	return a.Text("enrolment", "token"), a.Text("enrolment", "agent_id")
}
