package attacks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway"
	"github.com/cofferdb/coffer/gateway/api"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
	"github.com/cofferdb/coffer/gateway/identity"
)

// door is a gateway with the identity service, and its first user. Who asks says from where in X-Forwarded-For.
type door struct {
	*gatewaytest.Gateway
	password string
}

func newDoors(t *testing.T, n int, tokenRate float64) (doors []door) {
	t.Helper()
	etcd := etcdtest.Start(t)
	password := ""
	for range n {
		store := etcd.Store(t)
		service, err := identity.New(identity.Config{Store: store, RemoteIP: api.RemoteIP(true), Log: slog.New(slog.DiscardHandler), TokenRate: tokenRate})
		if err != nil {
			t.Fatal(err)
		}
		if made, first, err := service.Bootstrap(t.Context()); err != nil {
			t.Fatal(err)
		} else if first {
			password = made
		}
		g := gatewaytest.Start(t, store, func(c *gateway.Config) { c.IdentityService, c.Identity = service.Handler(), service })
		doors = append(doors, door{g, password})
	}
	return doors
}

// ask makes a request of the identity service, from an address.
func (d door) ask(t *testing.T, method, path, from, token string, body any) (status int, header http.Header) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, d.URL+"/identity/v3"+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Forwarded-For", from)
	req.Header.Set("X-Auth-Token", token)
	req.Header.Set("X-Subject-Token", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp.StatusCode, resp.Header
}

type object = map[string]any

func (d door) logIn(t *testing.T, from string, user object, password string) (status int, token string) {
	t.Helper()
	user["password"] = password
	status, header := d.ask(t, http.MethodPost, "/auth/tokens", from, "", object{"auth": object{"identity": object{"methods": []string{"password"}, "password": object{"user": user}}}})
	return status, header.Get("X-Subject-Token")
}

func admin() object { return object{"name": "admin", "domain": object{"id": "default"}} }

// scopeAnew makes a token from a token.
func (d door) scopeAnew(t *testing.T, token string) (status int, made string) {
	t.Helper()
	status, header := d.ask(t, http.MethodPost, "/auth/tokens", "192.0.2.1", "", object{"auth": object{"identity": object{"methods": []string{"token"}, "token": object{"id": token}}}})
	return status, header.Get("X-Subject-Token")
}

func (d door) knows(t *testing.T, token string) bool {
	t.Helper()
	status, _ := d.ask(t, http.MethodGet, "/auth/tokens", "192.0.2.1", token, nil)
	return status == http.StatusOK
}

// TestM6RevokingATokenLeavesItsChildren makes tokens from a stolen one before it is revoked.
func TestM6RevokingATokenLeavesItsChildren(t *testing.T) {
	d := newDoors(t, 1, -1)[0]
	_, login := d.logIn(t, "192.0.2.1", admin(), d.password)
	_, stolen := d.scopeAnew(t, login)
	_, child := d.scopeAnew(t, stolen)
	_, grandchild := d.scopeAnew(t, child)
	if !d.knows(t, grandchild) {
		t.Fatal("tokens cannot be made from tokens")
	}
	if status, _ := d.ask(t, http.MethodDelete, "/auth/tokens", "192.0.2.1", stolen, nil); status != http.StatusNoContent {
		t.Fatalf("revoke: %d", status)
	}
	for name, token := range map[string]string{"the stolen token": stolen, "one made from it": child, "one made from that": grandchild} {
		if d.knows(t, token) {
			t.Errorf("%s is still good", name)
		}
		if status, _ := d.scopeAnew(t, token); status != http.StatusUnauthorized {
			t.Errorf("a token is made from %s: %d", name, status)
		}
	}
	if !d.knows(t, login) {
		t.Error("the token that the stolen one was made from is dead, too")
	}
	for token, status := login, http.StatusCreated; ; { // ever longer chains
		if status, token = d.scopeAnew(t, token); status == http.StatusForbidden {
			break
		} else if status != http.StatusCreated {
			t.Fatalf("a chain of tokens: %d", status)
		}
	}
}

// TestM6AChangedPasswordLeavesTokens changes the password of a user whose token, and its child, a thief holds.
func TestM6AChangedPasswordLeavesTokens(t *testing.T) {
	d := newDoors(t, 1, -1)[0]
	_, login := d.logIn(t, "192.0.2.1", admin(), d.password)
	_, child := d.scopeAnew(t, login)
	status, _ := d.ask(t, http.MethodPatch, "/users/"+d.userOf(t, login), "192.0.2.1", login, object{"user": object{"password": "another-password-0123456789"}})
	if status != http.StatusOK {
		t.Fatalf("change: %d", status)
	}
	if d.knows(t, login) || d.knows(t, child) {
		t.Error("a token of the old password is still good")
	}
}

// userOf is the id of a token's user.
func (d door) userOf(t *testing.T, token string) string {
	t.Helper()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, d.URL+"/identity/v3/auth/tokens", nil)
	req.Header.Set("X-Auth-Token", token)
	req.Header.Set("X-Subject-Token", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body struct {
		Token struct{ User struct{ ID string } }
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	return body.Token.User.ID
}

// TestM7GuessingByEveryNameAndGateway guesses one user's password by name and by id, at two gateways, from many addresses: there is one
// budget for all. From where the user has logged in before it still can.
func TestM7GuessingByEveryNameAndGateway(t *testing.T) {
	doors := newDoors(t, 2, -1)
	status, token := doors[0].logIn(t, "198.51.100.7", admin(), doors[0].password)
	if status != http.StatusCreated {
		t.Fatalf("the first login: %d", status)
	}
	id := doors[0].userOf(t, token)
	begun, wrong, refused := time.Now(), 0, 0
	for n := range 60 {
		user := admin()
		if n%2 == 0 {
			user = object{"id": id}
		}
		// Each address is used once, so that what each network has to itself is counted apart.
		switch status, _ := doors[n/2%2].logIn(t, fmt.Sprintf("203.0.113.%d", n/4), user, "a-wrong-guess"); status {
		case http.StatusUnauthorized:
			wrong++
		case http.StatusTooManyRequests:
			refused++
		default:
			t.Fatalf("guess %d: %d", n, status)
		}
	}
	// The user's ten, what they have earned meanwhile, and one of each of the 15 networks.
	if most := 10 + 15 + int(time.Since(begun)/(6*time.Second)) + 1; wrong > most || refused == 0 {
		t.Errorf("%d of 60 guesses were looked at, want at most %d", wrong, most)
	}
	for _, d := range doors {
		if status, _ := d.logIn(t, "198.51.100.7", admin(), doors[0].password); status != http.StatusCreated {
			t.Errorf("the user is shut out from where it always logs in: %d", status)
		}
	}
	if status, _ := doors[1].logIn(t, "198.51.100.99", admin(), doors[0].password); status != http.StatusCreated {
		t.Errorf("the user is shut out from a new address: %d", status)
	}
}

// TestM7Argon2StopsLogins has many addresses keep every place to hash busy, and looks that who has logged in before does not stand in
// their line: few of them are served before it.
func TestM7Argon2StopsLogins(t *testing.T) {
	d := newDoors(t, 1, -1)[0]
	if status, _ := d.logIn(t, "198.51.100.7", admin(), d.password); status != http.StatusCreated {
		t.Fatalf("the first login: %d", status)
	}
	const strangers = 100
	done := make(chan struct{})
	var crowd sync.WaitGroup
	var hashed atomic.Int64 // for strangers
	for n := range strangers {
		crowd.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				body, _ := json.Marshal(object{"auth": object{"identity": object{"methods": []string{"password"}, "password": object{"user": object{"name": fmt.Sprint("u", n, "-", i), "domain": object{"id": "default"}, "password": "x"}}}}})
				req, _ := http.NewRequest(http.MethodPost, d.URL+"/identity/v3/auth/tokens", bytes.NewReader(body))
				req.Header.Set("X-Forwarded-For", fmt.Sprintf("10.%d.%d.1", n, i%200))
				if resp, err := http.DefaultClient.Do(req); err == nil {
					resp.Body.Close()
					if resp.StatusCode == http.StatusUnauthorized {
						hashed.Add(1)
					}
				}
			}
		})
	}
	until.True(t, 2*time.Minute, "the crowd is there", func() bool { return hashed.Load() >= strangers }) // it hashes for seconds of CPU
	for range 5 {
		before := hashed.Load()
		if status, _ := d.logIn(t, "198.51.100.7", admin(), d.password); status != http.StatusCreated {
			t.Errorf("a login from a known address beside the crowd: %d", status)
		}
		if ahead := hashed.Load() - before; ahead > strangers/2 {
			t.Errorf("%d of %d strangers were served before who logs in from a known address", ahead, strangers)
		}
	}
	close(done)
	crowd.Wait()
}

// TestH5TokensByToken makes tokens from a reader's token as fast as it can.
func TestH5TokensByToken(t *testing.T) {
	d := newDoors(t, 1, 0)[0]
	status, token := d.logIn(t, "192.0.2.1", admin(), d.password)
	if status != http.StatusCreated {
		t.Fatalf("login: %d", status)
	}
	for n := 0; ; n++ {
		if status, _ = d.scopeAnew(t, token); status == http.StatusTooManyRequests {
			break
		}
		if n == 2000 {
			t.Fatalf("%d tokens were made from one, and nobody stops it", n)
		}
	}
}
