package group

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// Server is a member's own, with the way to those of the others.
type Server struct {
	Address string
	Port    int
	Own     *sql.DB
	Dial    func(address string) (*sql.DB, error) // by the cluster's account
	// Account and Password are the cluster's. Text quotes what goes into a statement.
	Account  string
	Password datastores.Secret
	Text     func(string) string
	// Told are the others of whom the member was told when it joined; nobody: it founded the cluster. Lost are those that will not be back.
	Told, Lost []string
}

const (
	askFor  = 5 * time.Second // how long one server may take to answer
	waitFor = 5               // seconds that a group may take to apply what a member has already
)

// Mend brings the server a step nearer to taking writes with its group, and returns nil when it does. An error of the kind Unavailable says for what it waits.
func (s Server) Mend(ctx context.Context) error {
	own, err := Ask(ctx, s.Own)
	switch {
	case err != nil:
		return err
	case own.Works():
		return s.open(ctx, own)
	case !own.Outside():
		return waiting(own.Trouble())
	}
	place := Find(Seen{Address: s.Address, Status: own}, s.askAll(ctx, own.Known))
	switch {
	case len(place.Join) > 0:
		return s.join(ctx, own, place.Join)
	case place.Found:
		return s.start(ctx, own, "", true)
	}
	return waiting(place.Wait)
}

func waiting(why string) error { return datastores.Errorf(datastores.Unavailable, "%s", why) }

// open lets clients in.
func (s Server) open(ctx context.Context, own Status) error {
	if !own.Closed {
		return nil
	}
	if err := s.do(ctx, "SET GLOBAL group_replication_bootstrap_group = OFF", "SET GLOBAL offline_mode = OFF"); err != nil {
		return err
	}
	return waiting(own.Trouble()) // the server itself ceases to be read-only
}

// askAll asks all that anybody knows.
func (s Server) askAll(ctx context.Context, known []string) (all []Seen) {
	ask := slices.Concat(known, s.Told)
	done := append([]string{s.Address}, s.Lost...)
	for len(ask) > 0 {
		address := ask[0]
		ask = ask[1:]
		if slices.Contains(done, address) {
			continue
		}
		done = append(done, address)
		seen := s.ask(ctx, address)
		all = append(all, seen)
		ask = append(ask, seen.Known...)
	}
	return all
}

func (s Server) ask(ctx context.Context, address string) Seen {
	seen := Seen{Address: address}
	seen.Err = s.at(ctx, address, func(ctx context.Context, db *sql.DB) (err error) {
		seen.Status, err = Ask(ctx, db)
		return err
	})
	return seen
}

// at does something at another member, for which that has not long.
func (s Server) at(ctx context.Context, address string, do func(context.Context, *sql.DB) error) error {
	ctx, cancel := context.WithTimeout(ctx, 2*askFor)
	defer cancel()
	db, err := s.Dial(address)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	return do(ctx, db)
}

// join has the server join those that work. It gets what it missed of their logs. One that is empty, and one that has what nobody
// was told is done, gets a copy of everything in place of what it has.
func (s Server) join(ctx context.Context, own Status, to []string) error {
	astray := false
	err := s.at(ctx, to[0], func(ctx context.Context, db *sql.DB) error {
		if err := Enter(ctx, db, s.Address); err != nil {
			return fmt.Errorf("cannot become a member: %w", err)
		}
		var late sql.NullInt64
		err := db.QueryRowContext(ctx, "SELECT WAIT_FOR_EXECUTED_GTID_SET("+s.Text(own.Has)+fmt.Sprintf(", %d)", waitFor)).Scan(&late)
		astray = late.Int64 != 0
		return err
	})
	if err != nil {
		return err
	}
	threshold := "DEFAULT"
	if astray || own.Has == "" {
		threshold = "1"
		if err := s.leave(ctx, own); err != nil {
			return err
		}
		if err := s.do(ctx, "SET GLOBAL super_read_only = OFF", "RESET BINARY LOGS AND GTIDS"); err != nil {
			return fmt.Errorf("cannot give up what the group does not have: %w", err)
		}
		own.State = "OFFLINE"
	}
	if err := s.do(ctx, "SET GLOBAL group_replication_clone_threshold = "+threshold); err != nil {
		return err
	}
	seeds := make([]string, len(to))
	for i, address := range to {
		seeds[i] = at(address, s.Port)
	}
	return s.start(ctx, own, strings.Join(seeds, ","), false)
}

// start returns nil never: the server is a member, and has to catch up.
func (s Server) start(ctx context.Context, own Status, seeds string, founds bool) error {
	if err := s.leave(ctx, own); err != nil {
		return err
	}
	bootstrap := "SET GLOBAL group_replication_bootstrap_group = "
	on := "OFF"
	if founds {
		on = "ON"
	}
	err := s.do(ctx, "SET GLOBAL group_replication_group_seeds = "+s.Text(seeds), bootstrap+on,
		"START GROUP_REPLICATION USER = "+s.Text(s.Account)+", PASSWORD = "+s.Text(s.Password.Reveal()))
	if founds {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askFor)
		defer cancel()
		err = errors.Join(err, s.do(ctx, bootstrap+"OFF"))
	}
	if err != nil {
		return fmt.Errorf("the server does not become a member: %w", err)
	}
	return waiting("the server has become a member, and catches up")
}

// leave ends what is left of a group that has thrown the server out.
func (s Server) leave(ctx context.Context, own Status) error {
	if own.State != "ERROR" {
		return nil
	}
	return s.do(ctx, "STOP GROUP_REPLICATION")
}

func (s Server) do(ctx context.Context, statements ...string) error {
	for _, statement := range statements {
		if _, err := s.Own.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}
