package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/guest/stream"
)

const (
	// shipTurn is how long a round waits for its turn; shipTimeout how long a part may be on its way until it is looked again how much
	// the server keeps.
	shipTurn    = 5 * time.Second
	shipTimeout = time.Minute
	// shipLatest is how long what was written waits at the most, whatever the shipped log may be behind; shipRetry how long a round
	// that has failed.
	shipLatest = 10 * time.Second
	shipRetry  = 5 * time.Second
	flushPause = 100 * time.Millisecond
)

// errBusy is the error of a round that found the server stopped, or in other hands.
var errBusy = errors.New("the server cannot be asked for its log now")

// keepShipping ships the log until ctx ends. What is written waits for a third of what the shipped log may be behind.
func (g *Guest) keepShipping(ctx context.Context) {
	for ctx.Err() == nil {
		more, err := g.shipOnce(ctx)
		now := g.shipper.get()
		wait := min(max(time.Duration(now.RPO)*time.Second/3, time.Second), shipLatest)
		switch {
		case !now.ships():
			wait = time.Hour
		case err != nil:
			if ctx.Err() == nil && !errors.Is(err, errBusy) {
				g.log.Warn("the log could not be shipped; trying again", "err", err)
			}
			wait = min(wait, shipRetry)
		case more:
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-g.shipper.nudge:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// shipOnce ships one part of the log, if there is any. more reports whether there is another.
func (g *Guest) shipOnce(ctx context.Context) (more bool, err error) {
	release, err := g.shipper.take(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	now := g.shipper.get()
	if !now.ships() {
		return false, nil
	}
	var data bytes.Buffer
	reply, err := g.readLog(ctx, &now, &data)
	if isKind(err, datastores.Conflict) {
		g.log.Error("the log cannot be shipped on", "err", err)
		now.Gone = datastores.Told(err).Message
		defer g.agent.StatusChanged()
		return false, g.shipper.set(now)
	}
	if err == nil && reply.To != now.Position {
		err = g.sendPart(ctx, now, datastores.LogPart{After: now.Position, To: reply.To, At: reply.At, Data: data.Bytes()})
	}
	if !errors.Is(err, errBusy) {
		g.shipper.note(reply, err)
	}
	return err == nil && reply.At.IsZero(), err
}

// readLog reads the part that is next, in turn with whatever else is asked of the server. Where a part ends is stored before it is sent.
func (g *Guest) readLog(ctx context.Context, now *shipment, to *bytes.Buffer) (reply datastores.LogReply, err error) {
	waiting, cancel := context.WithTimeout(ctx, shipTurn)
	defer cancel()
	release, err := g.take(waiting)
	if err != nil {
		return reply, errBusy
	}
	defer release()
	if g.usable() != nil {
		return reply, errBusy
	}
	able, ok := g.served.Load().manager.(datastores.PointInTime)
	if !ok {
		return reply, datastores.Errorf(datastores.Conflict, "the log of this datastore version cannot be shipped")
	}
	reading, cancel := context.WithTimeout(ctx, shipTimeout)
	defer cancel()
	kept, err := able.KeepLog(reading, now.Position)
	if err != nil {
		return reply, err
	}
	if now.Position == "" {
		now.Position, now.Start, now.From = kept, kept, time.Now().UTC()
		now.Until = now.From
		if err := g.shipper.set(*now); err != nil {
			return reply, err
		}
		g.agent.StatusChanged()
	}
	reply, err = able.ReadLog(reading, datastores.LogRequest{After: now.Position, To: now.Next, Most: stream.MaxPart, Output: to})
	if err == nil && len(reply.To) > datastores.MaxPosition {
		err = fmt.Errorf("the position of the log takes %d bytes; at most %d may be kept", len(reply.To), datastores.MaxPosition)
	}
	switch {
	case err != nil || reply.To == now.Position:
	case now.Next == "":
		now.Next, now.At = reply.To, reply.At
		err = g.shipper.set(*now)
	default: // it was read before, when less was there
		reply.At = now.At
	}
	return reply, err
}

// sendPart brings a part into the store, and remembers that it is there.
func (g *Guest) sendPart(ctx context.Context, now shipment, part datastores.LogPart) error {
	if len(part.Data) > 1<<20 {
		defer debug.FreeOSMemory()
	}
	key, err := streamKey(datastores.NewSecret(now.Key))
	if err != nil {
		return err
	}
	sending, cancel := context.WithTimeout(ctx, shipTimeout)
	defer cancel()
	stored, err := stream.PutPart(sending, segments{g.blobs, now.Window}, now.Window, int(now.Segments+1), key, part)
	if err != nil {
		return fmt.Errorf("cannot store part %d of the log: %w", now.Segments+1, err)
	}
	now.Behind = g.shipper.behind()
	now.Segments, now.Bytes, now.Position, now.Next, now.At = now.Segments+1, now.Bytes+stored, part.To, "", time.Time{}
	if !part.At.IsZero() {
		now.Until = part.At.UTC()
	}
	if err := g.shipper.set(now); err != nil {
		return err
	}
	g.agent.StatusChanged()
	return nil
}
