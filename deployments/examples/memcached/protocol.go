package memcached

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

const callTimeout = 5 * time.Second

// errDenied: the server does not know the user, or not with this password.
var errDenied = errors.New("memcached refuses user and password")

// login reports whether a user is let in.
func login(ctx context.Context, address, user, password string) error {
	c, _, err := dial(ctx, address, user, password)
	if err != nil {
		return err
	}
	return c.Close()
}

// dial connects and logs in, as the protocol has it: https://docs.memcached.org/protocols/basic/#authentication. The
// connection ends with ctx, or after callTimeout.
func dial(ctx context.Context, address, user, password string) (net.Conn, *bufio.Reader, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err != nil {
		return nil, nil, err
	}
	deadline, _ := ctx.Deadline()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	r := bufio.NewReader(c)
	err = c.SetDeadline(deadline)
	if err == nil {
		words := user + " " + password
		err = send(c, fmt.Sprintf("set login 0 0 %d\r\n%s", len(words), words))
	}
	if err == nil {
		var answer string
		if answer, err = line(r); err == nil && answer != "STORED" {
			err = errDenied
		}
	}
	if err != nil {
		return nil, nil, errors.Join(err, c.Close())
	}
	return c, r, nil
}

// call sends a command under the guest's own account and returns the lines of the answer, without the "END" of a list.
func (m *Manager) call(ctx context.Context, command string) ([]string, error) {
	password, err := m.password(adminUser)
	if err != nil {
		return nil, fmt.Errorf("the guest's password for memcached cannot be read (is the instance prepared?): %w", err)
	}
	c, r, err := dial(ctx, m.env.Address, adminUser, password)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := send(c, command); err != nil {
		return nil, err
	}
	var lines []string
	for {
		answer, err := line(r)
		switch {
		case err != nil:
			return nil, err
		case strings.Contains(answer, "ERROR"):
			return nil, fmt.Errorf("%s: %s", command, answer)
		case answer == "END":
			return lines, nil
		case !strings.HasPrefix(answer, "STAT "):
			return []string{answer}, nil
		}
		lines = append(lines, answer)
	}
}

func send(w io.Writer, text string) error {
	_, err := io.WriteString(w, text+"\r\n")
	return err
}

func line(r *bufio.Reader) (string, error) {
	text, err := r.ReadSlice('\n') // an error when it is longer than r's buffer
	return strings.TrimSpace(string(text)), err
}
