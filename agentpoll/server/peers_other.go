//go:build !linux

package server

import (
	"errors"
	"net"
)

// peers cannot be watched on this system, so polls are parked on their goroutines.
type peers struct{}

func newPeers(func(token uint64)) (*peers, error) {
	return nil, errors.New("polls are parked on goroutines: only Linux has epoll")
}

func (*peers) watch(net.Conn, uint64) error { return nil }
func (*peers) await(net.Conn, uint64) error { return nil }
func (*peers) close()                       {}
