package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

// slotCount is how many parts all keys are divided into.
const slotCount = 16384

// move is a slot that another server is to have.
type move struct {
	slot     int
	from, to string
}

// share works out who gets the slots that nobody has, and which ones move, so that every server of ids has as many as every other or one
// more. Slots of servers that are not in ids are left alone.
func share(ids []string, owners [slotCount]string) (give map[string][]int, moves []move) {
	has := map[string][]int{}
	var free []int
	for slot, owner := range owners {
		if owner == "" {
			free = append(free, slot)
		} else {
			has[owner] = append(has[owner], slot)
		}
	}
	byCount := slices.Clone(ids) // who has most keeps one more
	slices.SortStableFunc(byCount, func(a, b string) int { return len(has[b]) - len(has[a]) })
	total := len(free)
	for _, id := range ids {
		total += len(has[id])
	}
	quota := map[string]int{}
	for i, id := range byCount {
		quota[id] = total / len(ids)
		if i < total%len(ids) {
			quota[id]++
		}
	}
	give = map[string][]int{}
	for _, id := range ids {
		n := min(max(0, quota[id]-len(has[id])), len(free))
		if n > 0 {
			give[id] = free[:n]
			free = free[n:]
		}
	}
	type surplus struct {
		slot int
		from string
	}
	var over []surplus
	for _, id := range ids {
		for n := len(has[id]); n > quota[id]; n-- {
			over = append(over, surplus{has[id][n-1], id})
		}
	}
	for _, id := range ids {
		for n := len(has[id]) + len(give[id]); n < quota[id] && len(over) > 0; n++ {
			moves = append(moves, move{over[0].slot, over[0].from, id})
			over = over[1:]
		}
	}
	return give, moves
}

// spread gives every master its share of the slots, with the keys in them. What an earlier try has begun is ended first.
func (t *circle) spread(ctx context.Context, masters []*seat, progress func(string)) error {
	if err := t.agree(ctx); err != nil {
		return err
	}
	if err := t.endMoves(ctx, masters); err != nil {
		return err
	}
	seen, err := masters[0].nodes()
	if err != nil {
		return err
	}
	var ids []string
	for _, s := range masters {
		ids = append(ids, s.id)
	}
	give, moves := share(ids, seen.owners())
	for _, s := range masters {
		if len(give[s.id]) == 0 {
			continue
		}
		args := []string{"CLUSTER", "ADDSLOTS"}
		for _, slot := range give[s.id] {
			args = append(args, strconv.Itoa(slot))
		}
		if _, err := s.ask(args...); err != nil {
			return fmt.Errorf("member %s: CLUSTER ADDSLOTS: %w", s.member.ID, err)
		}
	}
	return t.run(ctx, moves, masters, progress)
}

// slotsAtOnce is how many slots are on their way together: a server writes down once, durably, what it is told at once.
const slotsAtOnce = 64

// run makes moves, those between the same two servers some at a time.
func (t *circle) run(ctx context.Context, moves []move, masters []*seat, progress func(string)) error {
	if len(moves) == 0 {
		return nil
	}
	progress("waiting for all replicas to have copied their masters") // each slot that moves is told to them
	if err := t.copied(ctx); err != nil {
		return err
	}
	slices.SortStableFunc(moves, func(a, b move) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	said, total := time.Time{}, len(moves)
	for len(moves) > 0 {
		if time.Since(said) > 2*time.Second {
			said = time.Now()
			progress(fmt.Sprintf("moving slots: %d of %d", total-len(moves), total))
		}
		n := 1
		for n < min(len(moves), slotsAtOnce) && moves[n].from == moves[0].from && moves[n].to == moves[0].to {
			n++
		}
		if err := t.moveSlots(ctx, moves[:n], masters); err != nil {
			return err
		}
		moves = moves[n:]
	}
	return nil
}

// moveAll moves everything away from a member, to those that have least.
func (t *circle) moveAll(ctx context.Context, from *seat, masters []*seat, progress func(string)) error {
	if err := t.endMoves(ctx, append([]*seat{from}, masters...)); err != nil {
		return err
	}
	seen, err := from.nodes()
	if err != nil {
		return err
	}
	count := map[string]int{}
	for _, s := range masters {
		n, _ := seen.find(s.id)
		count[s.id] = len(n.slots)
	}
	me, _ := seen.find(from.id)
	var moves []move
	for _, slot := range me.slots {
		least := slices.MinFunc(masters, func(a, b *seat) int { return count[a.id] - count[b.id] })
		count[least.id]++
		moves = append(moves, move{slot, from.id, least.id})
	}
	return t.run(ctx, moves, append([]*seat{from}, masters...), progress)
}

// endMoves ends what was on its way when an earlier try was cut.
func (t *circle) endMoves(ctx context.Context, masters []*seat) error {
	for _, s := range masters {
		seen, err := s.nodes()
		if err != nil {
			return err
		}
		me, _ := seen.find(s.id)
		for _, open := range me.open {
			m := move{open.slot, s.id, open.other}
			if !open.out {
				m.from, m.to = open.other, s.id
			}
			if t.seat(m.from) == nil || t.seat(m.to) == nil {
				_, err = s.ask("CLUSTER", "SETSLOT", strconv.Itoa(open.slot), "STABLE")
			} else {
				err = t.moveSlots(ctx, []move{m}, masters)
			}
			if err != nil {
				return fmt.Errorf("slot %d, which was on its way: %w", open.slot, err)
			}
		}
	}
	return nil
}

// keysAtOnce is how many keys one MIGRATE takes, and migrateTimeout how long it may.
const (
	keysAtOnce     = 64
	migrateTimeout = 5 * time.Minute
)

// moveSlots moves slots, all from one server to another one, with their keys. Clients are sent to where each key is meanwhile.
func (t *circle) moveSlots(ctx context.Context, moves []move, masters []*seat) error {
	from, to := t.seat(moves[0].from), t.seat(moves[0].to)
	if from == nil || to == nil {
		return errors.New("a server is no member")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	fail := func(err error) error {
		return fmt.Errorf("slots %d to %d, from member %s to member %s: %w", moves[0].slot, moves[len(moves)-1].slot, from.member.ID, to.member.ID, err)
	}
	each := func(command string, args ...string) (all [][]string) {
		for _, m := range moves {
			all = append(all, append([]string{"CLUSTER", command, strconv.Itoa(m.slot)}, args...))
		}
		return all
	}
	// Either has a slot already when an earlier try came so far.
	if err := to.setSlots(ctx, each("SETSLOT", "IMPORTING", from.id), "already the owner"); err != nil {
		return fail(err)
	}
	if err := from.setSlots(ctx, each("SETSLOT", "MIGRATING", to.id), "not the owner"); err != nil {
		return fail(err)
	}
	keys, err := from.askAll(each("COUNTKEYSINSLOT")) // no new ones come
	if err != nil {
		return fail(err)
	}
	for i, m := range moves {
		if keys[i] == "0" {
			continue
		}
		if err := t.moveKeys(ctx, from, to, strconv.Itoa(m.slot)); err != nil {
			return fail(err)
		}
	}
	// First who gets them, then who had them: so no slot is ever nobody's.
	others := slices.DeleteFunc(slices.Clone(masters), func(s *seat) bool { return s == to || s == from })
	for _, s := range append([]*seat{to, from}, others...) {
		if err := s.setSlots(ctx, each("SETSLOT", "NODE", to.id), ""); err != nil {
			return fail(fmt.Errorf("member %s: %w", s.member.ID, err))
		}
	}
	return nil
}

// setSlots tells a member about slots. It asks again while a replica that is to have it, too, does not answer.
func (s *seat) setSlots(ctx context.Context, commands [][]string, passes string) (err error) {
	waited := service.AwaitSaying(ctx, func() error {
		if err = s.tellAll(commands, passes); err != nil && reasonOf(err) == "NOREPLICAS" {
			return fmt.Errorf("a replica of member %s does not answer it", s.member.ID)
		}
		return nil
	})
	return cmp.Or(waited, err)
}

func (t *circle) moveKeys(ctx context.Context, from, to *seat, slot string) error {
	for {
		keys, err := from.list("CLUSTER", "GETKEYSINSLOT", slot, strconv.Itoa(keysAtOnce))
		if err != nil || len(keys) == 0 {
			return err
		}
		for _, s := range []*seat{from, to} {
			if err := s.takes(ctx); err != nil {
				return err
			}
		}
		args := []string{"MIGRATE", to.member.Address, strconv.Itoa(to.at), "", "0", strconv.FormatInt(migrateTimeout.Milliseconds(), 10), "REPLACE",
			"AUTH2", clusterUser, to.secret, "KEYS"}
		from.wait = migrateTimeout + callTimeout
		_, err = from.ask(append(args, keys...)...)
		if from.wait = callTimeout; err != nil {
			return datastores.Errorf(datastores.Internal, "the server cannot move keys: %s", reasonOf(err))
		}
	}
}

// takes waits until a server takes keys. A server that has joined takes the cluster for down for some seconds, and refuses them.
func (s *seat) takes(ctx context.Context) error {
	return service.AwaitSaying(ctx, func() error {
		text, err := s.ask("CLUSTER", "INFO")
		if err == nil && parseInfo(text)["cluster_state"] != "ok" {
			err = fmt.Errorf("member %s takes the cluster for down", s.member.ID)
		}
		return err
	})
}

// reasonOf is the code of what a server has answered: the rest may hold a key.
func reasonOf(err error) string {
	if refused, ok := errors.AsType[replyError](err); ok {
		code, _, _ := strings.Cut(string(refused), " ")
		return code
	}
	return err.Error()
}
