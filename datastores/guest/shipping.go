package guest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agent"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/datastores/volume"
)

const shippingName = "shipping.json"

// shipment is what a guest must know, through its own restarts, of the log that it ships.
type shipment struct {
	datastores.Shipped
	RPO int    `json:"rpo"` // seconds
	Key string `json:"key"` // of the window alone: 32 bytes in base64
	// Next is where the segment after the last one ends, once that was begun: it may be in the store already, and is put there again.
	Next string    `json:"next,omitempty"`
	At   time.Time `json:"next_at,omitzero"` // of that segment, see datastores.LogReply
}

// ships reports whether there is anything to do.
func (s shipment) ships() bool { return s.Window != "" && s.Gone == "" }

// shipper is what is known of the log of one server, and how its shipping gets on.
type shipper struct {
	dir   string
	nudge chan struct{} // begins a round at once
	round chan struct{} // full during a round, or while something else about it is changed

	mu    sync.Mutex
	now   shipment
	until time.Time // as Shipped.Until, or later while nothing is written
	since time.Time // since when the log could not be shipped; zero: it is
	why   string    // it could not
	near  bool      // the server keeps more than half of what it may
}

func openShipper(dir string) (*shipper, error) {
	s := &shipper{dir: dir, nudge: make(chan struct{}, 1), round: make(chan struct{}, 1)}
	if err := volume.At(dir).LoadJSON(shippingName, &s.now); err != nil {
		return nil, fmt.Errorf("cannot read what is known of the log that is shipped: %w", err)
	}
	return s, nil
}

// take waits until no round goes on. release ends it.
func (s *shipper) take(ctx context.Context) (release func(), err error) {
	select {
	case s.round <- struct{}{}:
		return func() { <-s.round }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("the log is being shipped: %w", ctx.Err())
	}
}

func (s *shipper) get() shipment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// set stores durably what is known from now on.
func (s *shipper) set(next shipment) error {
	if err := volume.At(s.dir).SaveJSON(shippingName, next); err != nil {
		return fmt.Errorf("cannot store what is known of the log that is shipped: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now.Window != next.Window {
		s.since, s.why, s.near = time.Time{}, "", false
	}
	s.now, s.until = next, next.Until
	return nil
}

// shipped is what the gateway is told without being asked; nil: nothing is shipped.
func (s *shipper) shipped() *datastores.Shipped {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now.Shipped
	if now.Window == "" {
		return nil
	}
	if s.stuck() {
		now.Stuck = s.since.UTC()
	}
	return &now
}

// stuck reports whether the log could not be shipped for so long that it is told. The mutex is held.
func (s *shipper) stuck() bool {
	patience := max(time.Minute, 2*time.Duration(s.now.RPO)*time.Second)
	return s.now.ships() && !s.since.IsZero() && time.Since(s.since) > patience
}

// behind is how far the log in the store is behind, at the most.
func (s *shipper) behind() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(time.Since(s.until), 0)
}

// note remembers how a round has ended: until when the log is in the store, if it is known.
func (s *shipper) note(reply datastores.LogReply, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if reply.Keeps > 0 {
		s.near = reply.Kept > reply.Keeps/2
	}
	switch {
	case err == nil:
		s.since, s.why = time.Time{}, ""
		if reply.At.After(s.until) {
			s.until = reply.At
		}
	case s.since.IsZero():
		s.since = time.Now()
		fallthrough
	default:
		s.why = ": " + datastores.Told(err).Message
	}
}

// warning says that the log is not shipped, when that has lasted for a while, and before any of it is given up.
func (s *shipper) warning() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.now.ships():
		return ""
	case s.near:
		return "More than half of the room is used for the log that was not shipped: when it is full, point in time recovery will have a gap" + s.why
	case s.stuck():
		return "The log is not shipped, and nobody can go back to what is written now; the server keeps it meanwhile" + s.why
	}
	return ""
}

// canShip returns the manager if the log of its server can be shipped.
func (g *Guest) canShip() (datastores.PointInTime, error) {
	able, ok := g.served.Load().manager.(datastores.PointInTime)
	if !ok {
		return nil, datastores.Errorf(datastores.Unsupported, "the log of this datastore version cannot be shipped")
	}
	return able, nil
}

// shipLog has the guest ship the log under a window from now on, or nothing any more.
func (g *Guest) shipLog(ctx context.Context, _ agent.Command, args datastores.ShipArgs) (none, error) {
	able, err := g.canShip()
	if err != nil {
		return none{}, err
	}
	release, err := g.shipper.take(ctx)
	if err != nil {
		return none{}, err
	}
	defer release()
	defer g.agent.StatusChanged()
	if args.Window == "" {
		if err := g.shipper.set(shipment{}); err != nil {
			return none{}, err
		}
		return inTurn(ctx, g, g.usable, func(*served) (none, error) { return none{}, able.DropLog(ctx) })
	}
	if key, err := streamKey(args.Key); err != nil || key == nil {
		return none{}, errors.Join(datastores.Errorf(datastores.Invalid, "the log is shipped sealed, and there is no key"), err)
	}
	next := g.shipper.get()
	if next.Window != args.Window {
		next = shipment{Shipped: datastores.Shipped{Window: args.Window}, Key: args.Key.Reveal()}
	}
	next.RPO = args.RPO
	if err := g.shipper.set(next); err != nil {
		return none{}, err
	}
	select {
	case g.shipper.nudge <- struct{}{}:
	default:
	}
	return none{}, nil
}

// flushLog ships all that was committed before it was called.
func (g *Guest) flushLog(ctx context.Context, _ agent.Command, _ none) (datastores.Shipped, error) {
	if _, err := g.canShip(); err != nil {
		return datastores.Shipped{}, err
	}
	asked := time.Now()
	for {
		_, err := g.shipOnce(ctx)
		now := g.shipper.get()
		g.shipper.mu.Lock()
		now.Until = g.shipper.until
		g.shipper.mu.Unlock()
		switch {
		case !now.ships():
			return now.Shipped, datastores.Errorf(datastores.Conflict, "the log is not shipped")
		case err == nil && now.Until.After(asked):
			return now.Shipped, nil
		}
		if !service.Pause(ctx, flushPause) {
			return now.Shipped, errors.Join(datastores.Errorf(datastores.Unavailable, "the log could not be shipped in time"), err)
		}
	}
}
