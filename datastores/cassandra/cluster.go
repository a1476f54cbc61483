package cassandra

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

// ClusterShape implements [datastores.Cluster]. Members of a new ring join at once. Those that come to a ring with data wait for each other:
// two that take over parts at once may take them from servers that lack what was acknowledged.
func (m *Manager) ClusterShape() datastores.ClusterShape {
	return datastores.ClusterShape{Together: true}
}

// runOutside starts the server by itself, empty, and for its guest alone.
func (m *Manager) runOutside(ctx context.Context, in *member) error {
	if in.Standing == outgoing {
		if err := m.Stop(ctx); err != nil {
			return err
		}
		if err := m.empty(); err != nil {
			return err
		}
		*in = member{Ring: in.Ring, Secret: in.Secret}
		if err := m.saveMember(in); err != nil {
			return err
		}
	}
	if _, _, ok := m.service.Running(); !ok {
		if err := m.configure(true); err != nil {
			return fmt.Errorf("cannot configure the server: %w", err)
		}
	}
	if err := m.service.Start(ctx); err != nil {
		return err
	}
	return m.await(ctx, m.ping)
}

// empty removes all that the server has.
func (m *Manager) empty() error {
	tree, err := m.data.Open()
	if err != nil {
		return err
	}
	defer func() { _ = tree.Close() }()
	return m.wipe(tree)
}

// gather is how long a start waits for other members that may be starting as well. Without them the server runs, and takes nothing.
const gather = 20 * time.Second

// awaitRing waits until the server answers: of a member's also that it reaches enough others, but not for long.
func (m *Manager) awaitRing(ctx context.Context) error {
	in, err := m.loadMember()
	if err != nil {
		return err
	}
	var short time.Time
	return m.await(ctx, func(ctx context.Context) error {
		err := m.ping(ctx)
		if !isUnavailable(err) || in == nil || in.Standing != inside {
			return err
		}
		if short.IsZero() {
			short = time.Now()
		}
		if time.Since(short) > gather {
			return nil
		}
		return err
	})
}

func isUnavailable(err error) bool {
	told := new(datastores.Error)
	return errors.As(err, &told) && told.Kind == datastores.Unavailable
}

// JoinCluster implements [datastores.Cluster]. The server that founds the ring is empty; each other one is emptied, and gets its parts from
// those that have them.
func (m *Manager) JoinCluster(ctx context.Context, v datastores.ClusterView) error {
	if err := m.becomeMember(&v); err != nil {
		return err
	}
	in, err := m.loadMember()
	if err != nil {
		return err
	}
	others := v.Others()
	if in.isOut() {
		next := &member{Ring: v.ID, Secret: v.Secret.Reveal(), Standing: joining, Founds: len(others) == 0}
		if !next.Founds {
			if next.Early, err = m.awaitTurn(ctx, v); err != nil {
				return err
			}
		}
		if next.Founds || next.Early {
			next.Tokens = evenly(place(v), len(v.Members))
		}
		for _, c := range others {
			next.Others = append(next.Others, c.Address)
		}
		v.Progress("starting the server as a member")
		if err := m.Stop(ctx); err != nil {
			return err
		}
		if err := errors.Join(m.empty(), m.saveMember(next)); err != nil {
			return err
		}
		in = next
	}
	if in.Standing == joining {
		if !in.Founds { // the ring has the guests' account
			if err := m.own.WriteFile(admittedFile, nil); err != nil {
				return err
			}
		}
		if _, _, runs := m.service.Running(); runs && m.ping(ctx) != nil { // cut off half way, and maybe stuck: it begins where it was
			if err := m.Stop(ctx); err != nil {
				return err
			}
		}
		if err := m.startSlowly(ctx, v); err != nil {
			return err
		}
		in.Standing = inside
		if err := m.saveMember(in); err != nil {
			return err
		}
	}
	if len(others) == 0 {
		return nil
	}
	if err := m.service.Await(ctx, func(ctx context.Context) error { return m.isKnown(ctx, v, others) }); err != nil {
		return err
	}
	if in.Early {
		return nil
	}
	return m.with(ctx, func(ctx context.Context, s *session) error { return m.raise(ctx, s, in, v.Progress) })
}

// startSlowly starts a server that has data copied to it.
func (m *Manager) startSlowly(ctx context.Context, v datastores.ClusterView) error {
	return service.Telling(func() error { return m.Start(ctx) }, func() {
		if tree, err := m.data.Open(); err == nil {
			bytes, _ := sizeOf(tree, dataFolder)
			_ = tree.Close()
			v.Progress(fmt.Sprintf("%d MB are here", bytes>>20))
		}
	})
}

// awaitTurn waits, in a ring that has been settled, until those are in who join before this member. early: it has not, and has no data.
func (m *Manager) awaitTurn(ctx context.Context, v datastores.ClusterView) (early bool, err error) {
	first := v.Others()[0]
	err = m.service.Await(ctx, func(ctx context.Context) error {
		service.Pause(ctx, 500*time.Millisecond)
		return m.withMember(ctx, v, first, func(ctx context.Context, s *session) error {
			settled, err := s.isSettled(ctx)
			if early = !settled; err != nil || early {
				return err
			}
			known, err := s.peers(ctx)
			if err != nil {
				return err
			}
			for _, c := range v.Of(datastores.ClusterJoins) {
				if c.ID == v.Self {
					break
				}
				if _, ok := known[c.Address]; !ok {
					return fmt.Errorf("member %s joins first", c.ID)
				}
			}
			return nil
		})
	})
	return early, err
}

// isKnown wants that others have this member in their ring.
func (m *Manager) isKnown(ctx context.Context, v datastores.ClusterView, others []datastores.ClusterMember) error {
	for _, c := range others {
		err := m.withMember(ctx, v, c, func(ctx context.Context, s *session) error {
			known, err := s.peers(ctx)
			if err != nil {
				return err
			}
			if _, ok := known[m.env.Address]; !ok {
				return fmt.Errorf("it does not know member %s yet", v.Self)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("member %s: %w", c.ID, err)
		}
	}
	return nil
}

// SettleCluster implements [datastores.Cluster].
func (m *Manager) SettleCluster(ctx context.Context, v datastores.ClusterView) error {
	if err := m.giveUp(ctx, v); err != nil {
		return err
	}
	v.Progress("waiting for all members to reach each other")
	if err := m.awaitAll(ctx, v); err != nil {
		return err
	}
	in, err := m.loadMember()
	if err != nil {
		return err
	}
	return m.with(ctx, func(ctx context.Context, s *session) error {
		settled, err := s.isSettled(ctx)
		if err != nil {
			return err
		}
		if !settled {
			return m.begin(ctx, s, min(len(v.Of(datastores.ClusterIn)), mostCopies))
		}
		return m.raise(ctx, s, in, v.Progress)
	})
}

// awaitAll waits until all members have the same ring, and each reaches all.
func (m *Manager) awaitAll(ctx context.Context, v datastores.ClusterView) error {
	return service.AwaitSaying(ctx, func() error {
		all := v.Of(datastores.ClusterIn)
		for _, c := range all {
			err := m.withMember(ctx, v, c, func(ctx context.Context, s *session) error {
				known, err := s.peers(ctx)
				if err != nil {
					return err
				}
				for _, other := range all {
					if _, ok := known[other.Address]; !ok && other.ID != c.ID {
						return fmt.Errorf("it does not know member %s", other.ID)
					}
					delete(known, other.Address)
				}
				for address := range known {
					return fmt.Errorf("it still knows a server at %s, which is no member", address)
				}
				return s.reachesAll(ctx)
			})
			if err != nil {
				return fmt.Errorf("member %s: %w", c.ID, err)
			}
		}
		return nil
	})
}

// giveUp has the ring do without members that are lost: what they had is copied from others to others. When so many are lost that nobody can
// log in, it is told so while it is closed.
func (m *Manager) giveUp(ctx context.Context, v datastores.ClusterView) error {
	if len(v.Of(datastores.ClusterLost)) == 0 {
		return nil
	}
	forget := func(ctx context.Context, s *session) error { return m.forget(ctx, s, v) }
	var short time.Time
	shut := false
	err := service.AwaitSaying(ctx, func() error {
		err := m.with(ctx, forget)
		if !isUnavailable(err) {
			return err
		}
		if short.IsZero() {
			short = time.Now()
		}
		if shut = time.Since(short) > gather; shut {
			return nil
		}
		return err
	})
	if err != nil || !shut {
		return err
	}
	v.Progress("starting the server without the members that are lost")
	if err := m.Stop(ctx); err != nil {
		return err
	}
	if err := m.own.Remove(admittedFile); err != nil {
		return err
	}
	if err := m.admit(ctx, forget); err != nil {
		return err
	}
	return m.Start(ctx)
}

// forget removes those that are lost from the ring, and what copies they leave too few for.
func (m *Manager) forget(ctx context.Context, s *session, v datastores.ClusterView) error {
	known, err := s.peers(ctx)
	if err != nil {
		return err
	}
	for _, c := range v.Of(datastores.ClusterLost) {
		if id := known[c.Address]; id != "" {
			v.Progress("giving up member " + c.ID)
			if err := m.nodetool(ctx, "removenode", id); err != nil {
				return fmt.Errorf("member %s, which is lost, is still in the ring: %w", c.ID, err)
			}
		}
	}
	return s.lower(ctx, len(v.Of(datastores.ClusterIn)))
}

// LeaveCluster implements [datastores.Cluster].
func (m *Manager) LeaveCluster(ctx context.Context, v datastores.ClusterView) error {
	in, err := m.loadMember()
	if err != nil {
		return err
	}
	if in != nil && in.Standing == inside {
		stay := len(v.Others())
		if stay == 0 {
			return datastores.Errorf(datastores.Conflict, "nobody stays to take what member %s has", v.Self)
		}
		if err := m.decommission(ctx, v, stay); err != nil {
			return err
		}
		in.Standing = outgoing
		if err := m.saveMember(in); err != nil {
			return err
		}
	}
	return m.Start(ctx)
}

// The states of a member, as nodetool says them.
const (
	modeNormal = "NORMAL"
	modeLeaves = "LEAVING"
	modeGone   = "DECOMMISSIONED"
)

// decommission has the others take over what this member has.
func (m *Manager) decommission(ctx context.Context, v datastores.ClusterView, stay int) error {
	return service.AwaitSaying(ctx, func() error {
		mode, err := m.mode(ctx)
		switch {
		case err != nil || mode == modeGone:
			return err
		case mode == modeLeaves: // by a call that was cut off
			return fmt.Errorf("the others have not taken over everything yet (%d)", time.Now().Unix())
		case mode == modeNormal:
			if err := m.with(ctx, func(ctx context.Context, s *session) error {
				if err := s.refuseFewer(ctx, stay); err != nil {
					return err
				}
				return s.lower(ctx, stay)
			}); err != nil {
				return err
			}
		}
		v.Progress("handing over to those that stay")
		if err := m.nodetool(ctx, "decommission"); err != nil {
			if mode, modeErr := m.mode(ctx); modeErr == nil && mode == modeGone {
				return nil
			}
			return err
		}
		return nil
	})
}

func (m *Manager) mode(ctx context.Context) (string, error) {
	said, err := m.askNodetool(ctx, "netstats")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(said) {
		if mode, ok := strings.CutPrefix(strings.TrimSpace(line), "Mode: "); ok {
			return mode, nil
		}
	}
	return "", errors.New("nodetool netstats does not say how the server is")
}
