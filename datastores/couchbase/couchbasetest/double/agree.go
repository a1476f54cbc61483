package double

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// proposal asks a node to take nothing of a revision below Rev any more.
type proposal struct {
	Rev  int `json:"rev"`
	Base int `json:"base"` // the revision that is to be changed
}

// prepared promises it, unless there is a newer state or promise.
func (n *node) prepared(p proposal) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.state.Rev > p.Base || n.promised >= p.Rev {
		return fmt.Errorf("revision %d of %d comes too late: %d, %d", p.Rev, p.Base, n.state.Rev, n.promised)
	}
	before := n.promised
	n.promised = p.Rev
	if err := n.save(); err != nil {
		n.promised = before
		return err
	}
	return nil
}

// committed takes a state, if it is newer, and nobody was promised a newer one.
func (n *node) committed(s *state) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.state == nil || n.state.UUID != s.UUID {
		return errors.New("another cluster")
	}
	if n.state.Rev >= s.Rev {
		return nil
	}
	return n.become(s)
}

// at does something at a node: here, or by asking.
func (n *node) at(ctx context.Context, host, path string, in any, here func() error) error {
	if host == n.address {
		return here()
	}
	var out struct{}
	return n.ask(ctx, host, path, in, &out)
}

// propose asks nodes for a promise, of each of which it reports whether it gave one.
func (n *node) propose(ctx context.Context, hosts []string, p proposal) (given []string, err error) {
	for _, host := range hosts {
		one := n.at(ctx, host, "/prepare", p, func() error { return n.prepared(p) })
		if one == nil {
			given = append(given, host)
		}
		err = errors.Join(err, one)
	}
	return given, err
}

// commit brings a state to nodes.
func (n *node) commit(ctx context.Context, hosts []string, s *state) (done []string, err error) {
	for _, host := range hosts {
		one := n.at(ctx, host, "/commit", s, func() error { return n.committed(s) })
		if one == nil {
			done = append(done, host)
		}
		err = errors.Join(err, one)
	}
	return done, err
}

var errNoMajority = errors.New("most nodes do not answer, or have a newer state")

// change changes the state at most nodes. mutate, whose answer with a status is a refusal, may be called again with a newer one.
func (n *node) change(ctx context.Context, success answer, mutate func(*state) answer) answer {
	for try := range 5 {
		before := n.now()
		if before == nil {
			return missing()
		}
		next := before.clone()
		if a := mutate(next); a.status != 0 {
			return a
		}
		next.Rev = max(before.Rev, n.promise()) + 1
		err := n.agree(ctx, before, next)
		if err == nil {
			return success
		}
		if ctx.Err() != nil || !n.hasMajority(before) {
			break
		}
		for _, host := range before.hosts(active) {
			if host != n.address {
				n.catchUp(ctx, host)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(try) * 50 * time.Millisecond):
		}
	}
	return answer{http.StatusServiceUnavailable, []string{errNoMajority.Error()}}
}

// reached are those of hosts that have answered of late.
func (n *node) reached(hosts []string) []string {
	return slices.DeleteFunc(slices.Clone(hosts), func(host string) bool { return !n.reaches(host, time.Now()) })
}

func (n *node) agree(ctx context.Context, before, next *state) error {
	voters := before.hosts(active)
	given, err := n.propose(ctx, n.reached(voters), proposal{next.Rev, before.Rev})
	if len(given)*2 <= len(voters) || !slices.Contains(given, n.address) && before.member(n.address).Membership == active {
		return errors.Join(errNoMajority, err)
	}
	var all []string
	for _, m := range before.Nodes {
		all = append(all, m.Host)
	}
	done, err := n.commit(ctx, n.reached(all), next) // the others ask for it when they are back
	reached := 0
	for _, host := range done {
		if slices.Contains(voters, host) {
			reached++
		}
	}
	if reached*2 <= len(voters) {
		return errors.Join(errNoMajority, err)
	}
	return nil
}
