package server

import (
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// peers notices that the peer of a parked poll has hung up, and that a resting connection is to be read. It is one epoll
// set, itself waited for by Go's poller, so it costs one goroutine and no thread.
//
// While a poll is parked only a hang-up counts: a peer that sends something has begun its next request, which stays in
// the socket until the connection is given back.
type peers struct {
	file *os.File
	raw  syscall.RawConn
	fd   int
	done sync.WaitGroup
}

// newPeers calls hear, from one goroutine, with the token of each connection that has something to tell.
func newPeers(hear func(token uint64)) (*peers, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot make an epoll set: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // so that os.NewFile gives it to Go's poller
		_ = unix.Close(fd)
		return nil, fmt.Errorf("cannot make an epoll set non-blocking: %w", err)
	}
	p := &peers{file: os.NewFile(uintptr(fd), "epoll"), fd: fd}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		_ = p.file.Close()
		return nil, fmt.Errorf("cannot wait for an epoll set: %w", err)
	}
	p.done.Go(func() { p.run(hear) })
	return p, nil
}

func (p *peers) run(hear func(token uint64)) {
	events := make([]unix.EpollEvent, 128)
	for {
		n := 0
		err := p.raw.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events, 0) // an error leaves n at -1 or 0: wait for the next edge
			return n > 0
		})
		if err != nil {
			return // closed
		}
		for _, e := range events[:n] {
			hear(uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32)
		}
	}
}

// watch tells once, under this token, when the peer hangs up. It need not be undone: a late call of hear has a token
// that nobody knows. A connection without a socket is not watched.
func (p *peers) watch(c net.Conn, token uint64) error { return p.add(c, token, unix.EPOLLRDHUP) }

// await is watch, but tells when there is something to read too.
func (p *peers) await(c net.Conn, token uint64) error {
	return p.add(c, token, unix.EPOLLRDHUP|unix.EPOLLIN)
}

func (p *peers) add(c net.Conn, token uint64, events uint32) error {
	raw := pollable(c)
	if raw == nil {
		return nil
	}
	event := unix.EpollEvent{
		Events: events | unix.EPOLLONESHOT, // EPOLLHUP and EPOLLERR are always told
		Fd:     int32(uint32(token)),
		Pad:    int32(uint32(token >> 32)),
	}
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, int(fd), &event)
		if failed == unix.EEXIST { // it was parked before
			failed = unix.EpollCtl(p.fd, unix.EPOLL_CTL_MOD, int(fd), &event)
		}
	})
	if err != nil {
		return err
	}
	return failed
}

// close ends the goroutine and waits for it.
func (p *peers) close() {
	_ = p.file.Close()
	p.done.Wait()
}
