package gatewaytest_test

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
)

// registers are values in rows, that clients set and read at every member of a set, and the history of what they were told. A read is a
// transaction that writes, too: a server acknowledges it when it could acknowledge a write.
type registers struct {
	*trio
	round func() int

	mu      sync.Mutex
	begun   time.Time
	history []porcupine.Operation
}

// registersOfRound is how many there are at once. Those of a new round are new ones: what nobody knows to have happened concerns its own round alone.
const registersOfRound = 4

// act is one operation on a register.
type act struct {
	key, value int
	write      bool
}

func (s act) String() string {
	if s.write {
		return fmt.Sprintf("write %d to %d", s.value, s.key)
	}
	return fmt.Sprintf("read %d", s.key)
}

// register is what a register does: a read has what was written last, 0 at first. An act's output is what was read.
func register() porcupine.Model {
	return porcupine.Model{
		Partition: func(history []porcupine.Operation) (parts [][]porcupine.Operation) {
			of := map[int][]porcupine.Operation{}
			for _, op := range history {
				of[op.Input.(act).key] = append(of[op.Input.(act).key], op)
			}
			for _, part := range of {
				parts = append(parts, part)
			}
			return parts
		},
		Init: func() any { return 0 },
		Step: func(state, input, output any) (bool, any) {
			if s := input.(act); s.write {
				return true, s.value
			}
			return output.(int) == state.(int), state
		},
		Equal:             func(a, b any) bool { return a.(int) == b.(int) },
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%v: %v", input, output) },
	}
}

// create makes the table, at the source.
func (r *registers) create(l login) {
	r.Helper()
	db, err := r.store.sql(l)
	if err != nil {
		r.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(r.Context(), "CREATE TABLE registers (k INT PRIMARY KEY, v INT, touched INT)"); err != nil {
		r.Fatal(err)
	}
	r.begun = time.Now()
}

// session works on registers at a member until something is not acknowledged in time.
func (r *registers) session(ctx context.Context, member int, l login) error {
	db, err := r.store.sql(l)
	if err != nil {
		return err
	}
	defer db.Close()
	for {
		s := act{key: r.round()*registersOfRound + rand.IntN(registersOfRound), write: rand.IntN(3) > 0}
		if s.write {
			s.value = int(r.next.Add(1))
		}
		if err := r.one(ctx, db, member, s); err != nil {
			return err
		}
		until.Passed(5 * time.Millisecond)
	}
}

// one does an act, and writes down what is known of it.
func (r *registers) one(ctx context.Context, db *sql.DB, member int, s act) error {
	ctx, cancel := context.WithTimeout(ctx, writePatience)
	defer cancel()
	call := time.Since(r.begun)
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	read := 0
	if s.write {
		_, err = tx.ExecContext(ctx, fmt.Sprintf("INSERT INTO items VALUES (%d, '%s')", s.value, item(s.value)))
		if err == nil {
			_, err = tx.ExecContext(ctx, r.upsert(s.key, s.value, "v = "+fmt.Sprint(s.value)))
		}
	} else {
		err = tx.QueryRowContext(ctx, r.upsert(s.key, 0, "touched = registers.touched + 1")+" RETURNING v").Scan(&read)
	}
	if err != nil {
		return err // and the server undoes it
	}
	err = tx.Commit()
	r.mu.Lock()
	defer r.mu.Unlock()
	op := porcupine.Operation{ClientId: len(r.history), Input: s, Call: int64(call), Output: read, Return: int64(time.Since(r.begun))}
	switch {
	case err == nil && s.write:
		r.acknowledge(s.value, member)
	case err != nil && s.write:
		op.Return = math.MaxInt64 // it may take effect at any time, or never
	case err != nil:
		return err
	}
	r.history = append(r.history, op)
	return err
}

// upsert is a statement that sets a register that is there, and makes one that is not.
func (r *registers) upsert(key, value int, set string) string {
	insert := fmt.Sprintf("INSERT INTO registers VALUES (%d, %d, 0) ", key, value)
	if r.store == postgresqlStore {
		return insert + "ON CONFLICT (k) DO UPDATE SET " + set
	}
	return insert + "ON DUPLICATE KEY UPDATE " + set
}

// wantOneServer expects that all that clients were told is what one server could have told them.
func (r *registers) wantOneServer() {
	r.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if result := porcupine.CheckOperationsTimeout(register(), r.history, time.Minute); result != porcupine.Ok {
		r.Errorf("what clients were told in %d operations on registers is not what one server would say: %s\n%s", len(r.history), result, r.told())
	}
}

// TestRegister judges a history of one server, and one of two that acknowledged.
func TestRegister(t *testing.T) {
	op := func(at int64, s act, read int) porcupine.Operation {
		return porcupine.Operation{ClientId: int(at), Input: s, Call: at, Output: read, Return: at + 5}
	}
	one := []porcupine.Operation{
		op(0, act{key: 1}, 0), op(10, act{key: 1, value: 7, write: true}, 0), op(12, act{key: 1}, 0), op(20, act{key: 1}, 7), op(20, act{key: 2}, 0),
	}
	lost := op(30, act{key: 1, value: 8, write: true}, 0)
	lost.Return = math.MaxInt64
	for name, c := range map[string]struct {
		more []porcupine.Operation
		good bool
	}{
		"one server":                         {nil, true},
		"an unknown write that was one":      {[]porcupine.Operation{lost, op(40, act{key: 1}, 8), op(50, act{key: 1}, 8)}, true},
		"an unknown write that was none":     {[]porcupine.Operation{lost, op(40, act{key: 1}, 7)}, true},
		"a second server without the write":  {[]porcupine.Operation{op(30, act{key: 1}, 0)}, false},
		"a second server that takes another": {[]porcupine.Operation{op(30, act{key: 1, value: 9, write: true}, 0), op(40, act{key: 1}, 7)}, false},
		"a write that comes and goes":        {[]porcupine.Operation{lost, op(40, act{key: 1}, 8), op(50, act{key: 1}, 7)}, false},
	} {
		if got := porcupine.CheckOperations(register(), append(append([]porcupine.Operation{}, one...), c.more...)); got != c.good {
			t.Errorf("%s: judged %t, want %t", name, got, c.good)
		}
	}
}
