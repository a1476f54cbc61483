package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores/volume"
)

// TestMain lets the test binary play the server and the guest.
func TestMain(m *testing.M) {
	switch os.Getenv("SERVICE_TEST_ROLE") {
	case "server":
		server()
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		server()
	case "failing":
		fmt.Println("no such table: config")
		os.Exit(3)
	case "guest":
		guest()
	}
	os.Exit(m.Run())
}

func server() {
	fmt.Println("ready")
	if err := os.WriteFile(os.Args[1], nil, 0o600); err != nil {
		panic(err)
	}
	until.Passed(time.Minute)
	os.Exit(0)
}

// guest starts the server and then waits to be killed.
func guest() {
	if err := newService(os.Args[1], "server").Start(context.Background()); err != nil {
		panic(err)
	}
	fmt.Println("started")
	until.Passed(time.Minute)
	os.Exit(0)
}

func newService(dir, role string) *Service {
	return &Service{
		Name:    "db",
		Dir:     dir,
		Argv:    []string{os.Args[0], filepath.Join(dir, "ready")},
		Env:     []string{"SERVICE_TEST_ROLE=" + role},
		LogDir:  volume.At(dir),
		LogFile: "log",
	}
}

// start returns a service that has answered; it is stopped when the test ends.
func start(t *testing.T, role string) *Service {
	t.Helper()
	s := newService(t.TempDir(), role)
	t.Cleanup(func() { stop(t, s) })
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, s)
	return s
}

func await(t *testing.T, s *Service) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := s.Await(ctx, func(context.Context) error {
		_, err := os.Stat(filepath.Join(s.Dir, "ready"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func stop(t *testing.T, s *Service) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func TestStartTwiceAndStopTwice(t *testing.T) {
	before := time.Now()
	s := start(t, "server")
	pid, since, ok := s.Running()
	if !ok || since.Before(before) || since.After(time.Now()) {
		t.Fatalf("Running() = %d, %v, %v", pid, since, ok)
	}
	if sid, _ := syscall.Getpgid(pid); sid != pid {
		t.Errorf("the server is in process group %d, want its own, %d", sid, pid)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again, _, _ := s.Running(); again != pid {
		t.Errorf("a second start made process %d beside %d", again, pid)
	}
	stop(t, s)
	stop(t, s)
	if _, _, ok := s.Running(); ok {
		t.Error("running after stop")
	}
	if _, err := inspect(pid); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("process %d is still there, a zombie? %v", pid, err)
	}
}

func TestStopKillsTheStubborn(t *testing.T) {
	s := start(t, "stubborn")
	s.StopTimeout = time.Millisecond
	stop(t, s)
	if _, _, ok := s.Running(); ok {
		t.Error("running after stop")
	}
}

func TestStopCancelledHalfWay(t *testing.T) {
	s := start(t, "stubborn")
	pid, _, _ := s.Running()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if err := s.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Stop = %v, want it to say that it was cancelled", err)
	}
	if _, _, ok := s.Running(); !ok {
		t.Error("a cancelled stop has killed the server")
	}

	// Another guest must not take the one that is ending for the one that it is to start.
	next := newService(s.Dir, "stubborn")
	next.StopTimeout = time.Millisecond
	t.Cleanup(func() { stop(t, next) })
	if err := next.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, next)
	if again, _, ok := next.Running(); !ok || again == pid {
		t.Errorf("after a cancelled stop and a start process %d runs, the old one was %d", again, pid)
	}
}

// TestAwaitAsksAgain has a server that never answers the first session.
func TestAwaitAsksAgain(t *testing.T) {
	s := start(t, "server")
	s.AnswerTimeout = 50 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	asked := 0
	err := s.Await(ctx, func(ctx context.Context) error {
		if asked++; asked > 1 {
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	})
	if err != nil || asked != 2 {
		t.Errorf("asked %d times: %v", asked, err)
	}
}

func TestAwaitTellsWhyTheServerEnded(t *testing.T) {
	s := newService(t.TempDir(), "failing")
	if err := s.Start(t.Context()); err != nil {
		if !saidWhy(err) {
			t.Fatal(err)
		}
		return // it ended even before Start did
	}
	err := s.Await(t.Context(), func(context.Context) error { return errors.New("refused") })
	if !saidWhy(err) {
		t.Errorf("Await = %v, want the server's last words", err)
	}
	stop(t, s)
}

func saidWhy(err error) bool {
	var failure *Failure
	return errors.As(err, &failure) && strings.Contains(failure.Words, "no such table: config")
}

func TestServerOutlivesAKilledGuest(t *testing.T) {
	for name, lose := range map[string]bool{"": false, " before it wrote the pid file": true} {
		t.Run("guest killed"+name, func(t *testing.T) {
			s := newService(t.TempDir(), "server")
			guest := exec.Command(os.Args[0], s.Dir)
			guest.Env = []string{"SERVICE_TEST_ROLE=guest"}
			out, err := guest.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := guest.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { stop(t, s) })
			if _, err := out.Read(make([]byte, 8)); err != nil {
				t.Fatal(err)
			}
			pid, _, ok := s.Running()
			if !ok {
				t.Fatal("the guest has started no server")
			}
			_ = guest.Process.Kill()
			_ = guest.Wait()
			if lose {
				if err := os.Remove(s.pidFile()); err != nil {
					t.Fatal(err)
				}
			}
			adopted, since, ok := s.Running()
			if !ok || adopted != pid || time.Since(since) > 30*time.Second {
				t.Errorf("Running() = %d, %v, %v; want process %d", adopted, since, ok, pid)
			}
			await(t, s)
		})
	}
}

func TestReusedProcessIDIsNotTheServer(t *testing.T) {
	s := newService(t.TempDir(), "server")
	me, err := inspect(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*process){
		"started at another time": func(p *process) { p.Ticks++ },
		"of another boot":         func(p *process) { p.BootID = "b" },
	} {
		t.Run(name, func(t *testing.T) {
			p := me
			change(&p)
			b, _ := json.Marshal(p)
			if err := os.WriteFile(s.pidFile(), b, 0o600); err != nil {
				t.Fatal(err)
			}
			if pid, _, ok := s.Running(); ok {
				t.Errorf("process %d is taken for the server", pid)
			}
		})
	}
}

func TestServerIsMovedIntoItsControlGroups(t *testing.T) {
	s := newService(t.TempDir(), "server")
	dir := t.TempDir() // a plain directory takes the write as a control group does
	s.CgroupDirs = []string{dir}
	t.Cleanup(func() { stop(t, s) })
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	procs := filepath.Join(dir, "cgroup.procs")
	moved := func(when string) {
		pid, _, _ := s.Running()
		if b, err := os.ReadFile(procs); err != nil || string(b) != fmt.Sprintf("%d\n", pid) {
			t.Errorf("%s: cgroup.procs holds %q, %v; want %d", when, b, err, pid)
		}
	}
	moved("after the start")
	for _, file := range []string{procs, s.pidFile()} {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	moved("found by a guest whose forerunner was killed before it could")

	lost := newService(t.TempDir(), "server")
	lost.CgroupDirs = []string{filepath.Join(dir, "missing")}
	if err := lost.Start(t.Context()); err == nil {
		t.Error("a server was started without its limits")
	}
	if _, _, ok := lost.Running(); ok {
		t.Error("a server without its limits was left running")
	}
}

func TestParseStat(t *testing.T) {
	p, err := parseStat([]byte("7 (a) b (c)) S 1 7 42 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 9876 0 0"))
	if err != nil || p.session != 42 || p.Ticks != 9876 || p.ended {
		t.Errorf("parseStat = %+v, %v", p, err)
	}
	for threads, want := range map[string]bool{"1": true, "3": false} {
		p, err := parseStat([]byte("7 (a) Z 1 7 42 0 -1 0 0 0 0 0 0 0 0 0 20 0 " + threads + " 0 9876 0 0"))
		if err != nil || p.ended != want {
			t.Errorf("a zombie of %s threads has ended: %v, %v", threads, p.ended, err)
		}
	}
	if _, err := parseStat([]byte("7 (a) S 1")); err == nil {
		t.Error("a short stat was taken")
	}
}
