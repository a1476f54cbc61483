package etcd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores/volume"
)

const (
	callTimeout = 10 * time.Second
	maxAnswer   = 1 << 20 // bytes
)

// errNoLeader: the server cannot say that it takes anything.
var errNoLeader = errors.New("etcd has no leader that it hears of: too few members of the cluster reach each other")

// client speaks etcd's JSON with one server.
type client struct {
	http *http.Client
	url  string
}

// own reaches the guest's own server by its socket, also when it is closed to everybody else.
func (m *Manager) own() client {
	return client{&http.Client{Timeout: callTimeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return volume.Data(m.env).Dial(ctx, folder+"/"+socketFile)
		},
	}}, "http://etcd"}
}

// at reaches the server at an address.
func at(address string) client {
	return client{&http.Client{Timeout: callTimeout, Transport: &http.Transport{DisableKeepAlives: true}}, clientURL(address)}
}

// refusal is an error that the server has told.
type refusal struct {
	Message string `json:"message"`
}

func (r *refusal) Error() string { return r.Message }

// refused reports whether the server has said such a thing.
func refused(err error, words string) bool {
	var r *refusal
	return errors.As(err, &r) && strings.Contains(r.Message, words)
}

// call asks for something without saying who asks.
func (c client) call(ctx context.Context, path string, in, out any) error {
	return c.callAs(ctx, "", path, in, out)
}

func (c client) callAs(ctx context.Context, token, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/v3/"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if token != "" {
		req.Header.Set("Authorization", token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode != http.StatusOK {
		r := new(refusal)
		if err := answer.Decode(r); err != nil || r.Message == "" {
			return fmt.Errorf("etcd answers with status %d", resp.StatusCode)
		}
		return r
	}
	if out == nil {
		return nil
	}
	return answer.Decode(out)
}

// login returns what says that a user has told the password.
func (c client) login(ctx context.Context, user, password string) (token string, err error) {
	var answer struct{ Token string }
	err = c.call(ctx, "auth/authenticate", map[string]string{"name": user, "password": password}, &answer)
	return answer.Token, err
}

// healthy asks whether the server would acknowledge something now.
func (c client) healthy(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/health", nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return errNoLeader
	}
	return nil
}

func (m *Manager) healthy(ctx context.Context) error {
	if err := m.own().healthy(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return errNoLeader
}

// admin asks a server for what only the guest's account may.
func (m *Manager) admin(ctx context.Context, c client, path string, in, out any) error {
	s, err := m.load()
	if err != nil {
		return err
	}
	token, err := c.login(ctx, guestUser, s.Password)
	if err != nil {
		return err
	}
	return c.callAs(ctx, token, path, in, out)
}
