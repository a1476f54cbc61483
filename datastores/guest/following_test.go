package guest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// looks is a server that is looked at every ten seconds.
type looks struct {
	followed
	now    time.Time
	writes int
	told   *datastores.Following
}

func (l *looks) look(is datastores.Following, err error) *datastores.Following {
	l.now = l.now.Add(10 * time.Second)
	told := l.followed.look(l.now, is, err)
	if !told.Same(l.told) {
		l.writes++
	}
	l.told = told
	return told
}

// replica is one that follows, has come to a place, and is behind.
func replicaAt(at string, transactions int64) datastores.Following {
	return datastores.Following{
		Role: datastores.RoleReplica, Follows: true, At: at, Waits: transactions > 0,
		Lag: datastores.Lag{datastores.Transactions: transactions, datastores.Seconds: transactions / 100},
	}
}

func newLooks() *looks { return &looks{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }

func TestALagThatWobblesIsNotTold(t *testing.T) {
	l := newLooks()
	at := 0
	for range 360 { // an hour
		for _, n := range []int64{0, 40, 900, 3} {
			at++
			l.look(replicaAt(time.Duration(at).String(), n), nil)
		}
	}
	if l.writes != 1 {
		t.Errorf("a busy replica was told of %d times, want once", l.writes)
	}
	l.writes = 0
	for n := int64(500); n < 1<<20; n += n / 10 {
		at++
		l.look(replicaAt(time.Duration(at).String(), n), nil)
	}
	if l.writes < 8 || l.writes > 11 {
		t.Errorf("a lag that grew to a million was told %d times, want one for each doubling from 1000", l.writes)
	}
	l.writes = 0
	for i := range 30 { // five minutes of wild changes
		at++
		l.look(replicaAt(time.Duration(at).String(), int64(1+i%2)*1_000_000*int64(1+i%2)), nil)
	}
	if l.writes > 10 {
		t.Errorf("a lag that jumps was told %d times in five minutes, want one in 30 s at most", l.writes)
	}
}

func TestAReplicaThatDoesNotFollow(t *testing.T) {
	l := newLooks()
	l.look(replicaAt("1", 0), nil)
	broken := datastores.Following{Role: datastores.RoleReplica, Why: "a row is there already: Duplicate entry 'secret' for key"}
	if told := l.look(broken, nil); !told.Follows {
		t.Error("it was told of a replica that stumbles")
	}
	if told := l.look(replicaAt("2", 0), nil); !told.Follows || l.writes != 1 {
		t.Errorf("after a stumble: %+v, told %d times", told, l.writes)
	}
	began := l.now.Add(10 * time.Second)
	l.look(broken, nil)
	told := l.look(broken, nil)
	if told.Follows || told.Why == "" || !told.Since.Equal(began) || strings.Contains(told.Why, "secret") {
		t.Errorf("a replica that does not follow since %s: %+v", began, told)
	}
	if told := l.look(replicaAt("3", 0), nil); !told.Follows || !told.Since.Equal(l.now) {
		t.Errorf("a replica that follows again: %+v", told)
	}
	if told := l.look(datastores.Following{Role: datastores.RoleSource}, nil); told.Role != datastores.RoleSource {
		t.Errorf("a replica that was made a source by hand: %+v", told)
	}
}

func TestAReplicaThatStandsStill(t *testing.T) {
	l := newLooks()
	for range 20 {
		if told := l.look(replicaAt("1", 0), nil); !told.Follows {
			t.Fatalf("a replica of a source that is idle: %+v", told)
		}
	}
	var told *datastores.Following
	for range 5 {
		if told = l.look(replicaAt("1", 5), nil); !told.Follows {
			t.Fatalf("before a minute: %+v", told)
		}
	}
	l.look(replicaAt("1", 6), nil)
	if told = l.look(replicaAt("1", 6), nil); told.Follows || !strings.Contains(told.Why, "nothing for a minute") {
		t.Errorf("a replica that has applied nothing for a minute: %+v", told)
	}
	if told = l.look(replicaAt("2", 5), nil); !told.Follows {
		t.Errorf("one that goes on: %+v", told)
	}
}

func TestAServerThatCannotBeAskedHowItFollows(t *testing.T) {
	l := newLooks()
	if told := l.look(datastores.Following{}, errors.New("deadline")); told != nil {
		t.Errorf("nothing is known, and %+v is told", told)
	}
	l.look(replicaAt("1", 0), nil)
	for range 5 {
		if told := l.look(datastores.Following{}, errors.New("deadline")); !told.Follows {
			t.Fatalf("before a minute: %+v", told)
		}
	}
	if told := l.look(datastores.Following{}, errors.New("deadline")); told.Follows || told.Role != datastores.RoleReplica {
		t.Errorf("after a minute: %+v", told)
	}
}
