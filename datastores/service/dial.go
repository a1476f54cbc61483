package service

import (
	"net"
)

// Dialer makes connections from address, a server's own, [datastores.Env].Address. So a guest reaches a port that is not open
// to anybody else: a host's firewall always lets a server reach itself. A server's ports on it need authentication all the
// same where they can have it, for other programs of the host may use the address, too.
func Dialer(address string) *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
}
