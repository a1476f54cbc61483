package inmemory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// The log of a server in memory is its history: a position is a number of lines. It has another history when it was made anew, or has
// followed another server.

// ForgetLog has a server give up what it keeps of its log.
func (m *Datastore) ForgetLog(address string) { m.with(address, func(s *server) { s.kept = "" }) }

func (m *manager) KeepLog(ctx context.Context, from string) (position string, err error) {
	if err := m.enter(ctx, datastores.MethodShipLog); err != nil {
		return "", err
	}
	err = m.ask(ctx, func(s *server) error {
		if from == "" {
			s.kept = s.identity()
			position = strconv.Itoa(len(s.history))
			return nil
		}
		position = from
		return s.keeps()
	})
	return position, err
}

// identity names a server's history.
func (s *server) identity() string { return fmt.Sprintf("%s of %s", s.instance, s.born) }

func (s *server) keeps() error {
	if s.kept != s.identity() || s.source != nil {
		return datastores.Errorf(datastores.Conflict, "the server has another history")
	}
	return nil
}

func (m *manager) ReadLog(ctx context.Context, req datastores.LogRequest) (reply datastores.LogReply, err error) {
	after, err := strconv.Atoi(req.After)
	if err != nil {
		return reply, err
	}
	var lines []string
	err = m.ask(ctx, func(s *server) error {
		to := len(s.history)
		if req.To != "" {
			to, _ = strconv.Atoi(req.To)
		}
		if after > to || to > len(s.history) || s.keeps() != nil {
			return datastores.Errorf(datastores.Conflict, "the server has another history")
		}
		lines, reply.To, reply.Keeps = s.history[after:to], strconv.Itoa(to), 1<<20
		if to == len(s.history) {
			reply.At = time.Now()
		}
		return nil
	})
	if err == nil {
		err = out{req.Output}.lines(lines)
	}
	return reply, err
}

func (m *manager) DropLog(context.Context) error {
	m.memory.with(m.env.Address, func(s *server) { s.kept = "" })
	return nil
}

// replay adds the log to what was restored.
func (d *contents) replay(ctx context.Context, log *datastores.LogReplay) error {
	if log == nil {
		return nil
	}
	last := -1
	if log.Position != "" {
		var err error
		if last, err = strconv.Atoi(log.Position); err != nil || last < len(d.history) {
			return datastores.Errorf(datastores.Invalid, "%q is no position after the backup", log.Position)
		}
	}
	for {
		part, err := log.Next(ctx)
		if errors.Is(err, io.EOF) {
			if last > len(d.history) {
				err = datastores.Errorf(datastores.Invalid, "the log does not come to %d", last)
				return err
			}
			return nil
		}
		at, e := strconv.Atoi(part.After)
		if err = errors.Join(err, e); err != nil {
			return err
		}
		for line := range strings.Lines(string(part.Data)) {
			if at++; at <= len(d.history) {
				continue
			}
			var c change
			if err := json.Unmarshal([]byte(line), &c); err != nil {
				return err
			}
			if last >= 0 && at > last || last < 0 && c.At.After(log.Time) {
				return nil
			}
			if at != len(d.history)+1 {
				return fmt.Errorf("the log has a gap before line %d", at)
			}
			if err := d.record(strings.TrimSpace(line)); err != nil {
				return err
			}
		}
	}
}
