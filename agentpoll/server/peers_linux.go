package server

import (
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// peers notices that the peer of a parked connection has hung up. It is one epoll set, itself waited for by Go's
// poller, so it costs one goroutine and no thread.
//
// Only a hang-up counts, not readability: a parked peer that sends something has begun its next request, which stays
// in the socket until the connection is given back.
type peers struct {
	file *os.File
	raw  syscall.RawConn
	fd   int
	done sync.WaitGroup
}

// newPeers calls lost, from one goroutine, with the token of each connection whose peer hung up.
func newPeers(lost func(token uint64)) (*peers, error) {
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
	p.done.Go(func() { p.run(lost) })
	return p, nil
}

func (p *peers) run(lost func(token uint64)) {
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
			lost(uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32)
		}
	}
}

// watch tells of the connection's peer once, under this token. It need not be undone before the connection is given
// back: a late call of lost has a token that nobody knows. A connection without a socket is not watched.
func (p *peers) watch(c net.Conn, token uint64) error {
	raw := pollable(c)
	if raw == nil {
		return nil
	}
	event := unix.EpollEvent{
		Events: unix.EPOLLRDHUP | unix.EPOLLONESHOT, // EPOLLHUP and EPOLLERR are always told
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
