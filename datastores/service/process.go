package service

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cofferdb/coffer/datastores/volume"
)

// process is one process of this machine, beyond doubt: a process id is used again, the three together are not.
type process struct {
	PID     int       `json:"pid"`
	Ticks   uint64    `json:"start_ticks"` // since boot, 100 a second: field 22 of /proc/PID/stat
	BootID  string    `json:"boot_id"`
	Started time.Time `json:"started"`
	// Stopping: it was told to end. Whoever wants it started must see to its end first.
	Stopping bool `json:"stopping,omitempty"`

	session int
	ended   bool // nothing of it runs any more; its parent may not know yet
}

const ticksPerSecond = 100 // the kernel's USER_HZ on every architecture that Go runs on

// inspect reads a process from /proc. Started is worked out from Ticks, to a few hundredths of a second.
func inspect(pid int) (process, error) {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return process{}, err
	}
	p, err := parseStat(stat)
	if err != nil {
		return process{}, fmt.Errorf("process %d: %w", pid, err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return process{}, err
	}
	p.PID, p.BootID = pid, string(bytes.TrimSpace(boot))
	p.Started = startTime(p.Ticks)
	return p, nil
}

// parseStat reads /proc/PID/stat. The program's name, in parentheses, may hold anything; the fields after the last
// parenthesis are plain.
func parseStat(stat []byte) (process, error) {
	const state, session, threads, start = 3, 6, 20, 22 // numbered from 1, as in proc(5)
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	field := func(n int) string { return fields[n-state] }
	if len(fields) <= start-state {
		return process{}, errors.New("/proc/PID/stat is too short")
	}
	sid, err1 := strconv.Atoi(field(session))
	ticks, err2 := strconv.ParseUint(field(start), 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return process{}, err
	}
	// The first thread of a killed process may be a zombie while others still end, and hold its ports and locks.
	ended := (field(state) == "Z" || field(state) == "X") && (field(threads) == "1" || field(threads) == "0")
	return process{Ticks: ticks, session: sid, ended: ended}, nil
}

func startTime(ticks uint64) time.Time {
	b, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return time.Time{}
	}
	text, _, _ := strings.Cut(string(b), " ")
	uptime, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return time.Time{}
	}
	age := uptime - float64(ticks)/ticksPerSecond
	return time.Now().Add(-time.Duration(age * float64(time.Second)))
}

// alive reports whether any thread of p still runs.
func (p process) alive() bool {
	now, err := inspect(p.PID)
	return err == nil && now.Ticks == p.Ticks && now.BootID == p.BootID && !now.ended
}

// signal sends sig to p, and to no other process. It returns nil when p has ended.
func (p process) signal(sig syscall.Signal) error {
	handle, err := os.FindProcess(p.PID) // holds a pidfd: what it names cannot change any more
	if err != nil {
		return err
	}
	defer func() { _ = handle.Release() }()
	if !p.alive() {
		return nil
	}
	if err := handle.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// killGroup kills p, which leads its process group, and its children.
func (p process) killGroup() error {
	if !p.alive() {
		return nil
	}
	if err := syscall.Kill(-p.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

// save does not wait for the disk: a power cut ends the process, too.
func (p process) save(path string) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return volume.At(filepath.Dir(path)).WriteVolatile(filepath.Base(path), b)
}

func loadProcess(path string) (process, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return process{}, err
	}
	var p process
	return p, json.Unmarshal(b, &p)
}

// findLost finds the session leader with exactly that user, program and command line.
func findLost(uid int, argv []string) (process, bool) {
	if len(argv) == 0 {
		return process{}, false
	}
	want := []byte(strings.Join(argv, "\x00") + "\x00")
	for _, pid := range ProcessesOf(uid) {
		cmdline, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		if err != nil || !slices.Equal(cmdline, want) || !runs(pid, argv[0]) {
			continue
		}
		if p, err := inspect(pid); err == nil && p.session == pid && !p.ended {
			return p, true
		}
	}
	return process{}, false
}

// runs reports whether a process runs a program, or may do so: in a sandbox the guest may not look, and there is nobody else's.
func runs(pid int, program string) bool {
	is, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pid), "exe"))
	if errors.Is(err, os.ErrPermission) {
		return true
	}
	want, wantErr := os.Stat(program)
	return err == nil && wantErr == nil && os.SameFile(is, want)
}
