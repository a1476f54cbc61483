package server

import (
	"net"
	"syscall"
)

// pollable returns the socket of a connection, that of the TLS below included. It is nil when there is none.
func pollable(c net.Conn) syscall.RawConn {
	for {
		switch conn := c.(type) {
		case syscall.Conn:
			raw, err := conn.SyscallConn()
			if err != nil {
				return nil
			}
			return raw
		case interface{ NetConn() net.Conn }:
			c = conn.NetConn()
		default:
			return nil
		}
	}
}
