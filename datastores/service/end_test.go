package service

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// testUsers are two users that nobody has but this process.
func testUsers() (first, second int) {
	first = 1<<29 + 2*os.Getpid()
	return first, first + 1
}

// serverOf is a server that a user runs, with what its tenant has it leave behind.
func serverOf(t *testing.T, uid int, leaves string) *Service {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: there is one user only")
	}
	s := &Service{
		Name: "db", Dir: t.TempDir(), Credential: Credential(uid, uid),
		Argv: []string{"/bin/sh", "-c", leaves + "\nexec sleep 300"},
	}
	t.Cleanup(func() { stop(t, s) })
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// forker is what no look into /proc finds for sure: each process lives for as long as it takes to fork the next.
const forker = "setsid sh -c 'f() { f & }; f' &"

// H3: what a tenant left ran on, for as long as it forked faster than it was looked for, and had the data that came after it.
func TestStopEndsWhatTheServerLeft(t *testing.T) {
	for name, leaves := range map[string]string{
		"a daemon":              "setsid sleep 300 &",
		"one that is stopped":   "setsid sh -c 'kill -STOP $$' &",
		"forking all the time":  forker,
		"many, deaf to signals": `setsid sh -c 'trap "" TERM INT HUP; for i in 1 2 3 4 5 6 7 8 9; do (while :; do sleep 1; done) & done; wait' &`,
	} {
		t.Run(name, func(t *testing.T) {
			user, _ := testUsers()
			s := serverOf(t, user, leaves)
			stop(t, s)
			nothingOf(t, user)
		})
	}
}

// What is left of a server that has crashed, and was not stopped, ends before the next starts.
func TestStartEndsWhatTheServerLeft(t *testing.T) {
	user, _ := testUsers()
	s := serverOf(t, user, forker)
	first, _, _ := s.Running()
	if err := s.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.reaped
	s.Argv = []string{"/bin/sleep", "300"}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	pid, _, ok := s.Running()
	if !ok || pid == first {
		t.Fatalf("process %d runs, after %d: %v", pid, first, ok)
	}
	for range looks {
		if all := ProcessesOf(user); len(all) != 1 || all[0] != pid {
			t.Fatalf("beside process %d run %v", pid, all)
		}
	}
}

const looks = 50 // the forker is seen in one of 25

func nothingOf(t *testing.T, uid int) {
	t.Helper()
	for range looks {
		if left := ProcessesOf(uid); len(left) > 0 {
			t.Fatalf("left are %v", left)
		}
	}
}

// H2: a process of anybody's with the server's command line was taken for it, so that the server could not be started.
func TestAnothersProcessIsNotTheServer(t *testing.T) {
	user, another := testUsers()
	s := serverOf(t, user, "")
	other := exec.Command(s.Argv[0], s.Argv[1:]...)
	other.SysProcAttr = &syscall.SysProcAttr{Credential: Credential(another, another), Setsid: true}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Process.Kill(); _ = other.Wait() })
	stop(t, s)
	if pid, _, ok := s.Running(); ok {
		t.Errorf("process %d, of another user, is taken for the server", pid)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if pid, _, ok := s.Running(); !ok || pid == other.Process.Pid {
		t.Errorf("process %d was started, %v", pid, ok)
	}
	if left := ProcessesOf(another); len(left) != 1 {
		t.Errorf("of the other user there is %v", left)
	}
}

// A program of the server's own user with its command line is not the server, either, when it is another program.
func TestAnotherProgramIsNotTheServer(t *testing.T) {
	s := &Service{Name: "db", Dir: t.TempDir(), Argv: []string{os.Args[0], "300"}}
	impostor := exec.Command("/bin/sleep")
	impostor.Args = s.Argv
	impostor.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := impostor.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = impostor.Process.Kill(); _ = impostor.Wait() })
	if pid, _, ok := s.Running(); ok {
		t.Errorf("process %d is taken for %s", pid, strings.Join(s.Argv, " "))
	}
}

func TestHasUser(t *testing.T) {
	for status, want := range map[string]bool{
		"Name:\tx\nState:\tS (sleeping)\nUid:\t20001\t20001\t20001\t20001\n": true,
		"State:\tS (sleeping)\nUid:\t0\t0\t20001\t0\n":                       true,
		"Name:\t20001\nState:\tS (sleeping)\nUid:\t0\t0\t0\t20001\n":         false,
		"Uid:\t200011\t200011\t200011\t200011\n":                             false,
		"":                                                                   false,
	} {
		if got := hasUser(status, 20001); got != want {
			t.Errorf("hasUser(%q) = %v", status, got)
		}
	}
}
