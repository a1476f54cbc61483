package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores"
)

// calendar is a database with events that say each second that they ran, and where.
type calendar struct{ asRoot *sql.DB }

func (c calendar) run(t *testing.T, statements ...string) {
	t.Helper()
	must(t, execute(t.Context(), c.asRoot, statements...))
}

// later is for an event that is enabled and disabled again: the server forgets that it was told to disable one that is just running.
const later = "STARTS CURRENT_TIMESTAMP + INTERVAL 1 HOUR"

func createEvent(name, more string) string {
	return "CREATE EVENT calendar." + identifier(name) + " ON SCHEDULE EVERY 1 SECOND " + more + " DO INSERT INTO calendar.ticks VALUES (" + text(name) + ", @@server_id)"
}

// newCalendar makes one on a source that has no replica yet and whose root has the password pass.
func newCalendar(t *testing.T, source *Manager) calendar {
	t.Helper()
	asRoot, err := login(t, source, rootUser, "pass", "")
	must(t, err)
	c := calendar{asRoot}
	c.run(t, "CREATE DATABASE calendar", "CREATE TABLE calendar.ticks (event TEXT, server INT UNSIGNED)",
		createEvent("a", ""), createEvent("over", later), createEvent("off", "DISABLE"))
	runEvents(t, source, "ON")
	return c
}

// runEvents has a server run its events. The scheduler is then as want says: a replica does not.
func runEvents(t *testing.T, m *Manager, want string) {
	t.Helper()
	_, err := m.UpdateOverrides(t.Context(), datastores.Values{eventScheduler: "ON"})
	must(t, err)
	wantScheduler(t, m, want)
}

func wantScheduler(t *testing.T, m *Manager, want string) {
	t.Helper()
	if got, err := show(t.Context(), m, eventScheduler); err != nil || got != want {
		t.Errorf("the scheduler of events is %s, %v; want %s", got, err, want)
	}
}

// change makes more events, and changes some, of which the replica hears.
func (c calendar) change(t *testing.T, source, replica *Manager) {
	t.Helper()
	c.run(t, "SET NAMES latin1 COLLATE latin1_bin", createEvent("it's", ""), createEvent("stopped", later), createEvent("never", "DISABLE"), "ALTER EVENT calendar.stopped DISABLE",
		"ALTER EVENT calendar.off COMMENT 'still'")
	// The server does not log that an event has run for the last time.
	must(t, source.local(func(db *sql.DB) error { return execute(t.Context(), db, "ALTER EVENT calendar.over DISABLE") }))
	must(t, source.Upkeep(t.Context()))
	runEvents(t, replica, "OFF")
	wantRan(t, source, source, "a", "it's")
	wantEnabled(t, source, "a", "it's")
}

// wantEnabled wants that of all events a server would run those, at their time.
func wantEnabled(t *testing.T, m *Manager, events ...string) {
	t.Helper()
	var enabled []string
	must(t, query(t.Context(), admin(t, m), func(scan func(...any) error) error {
		var event string
		err := scan(&event)
		enabled = append(enabled, event)
		return err
	}, "SELECT EVENT_NAME FROM information_schema.EVENTS WHERE STATUS = 'ENABLED' ORDER BY EVENT_NAME"))
	if !slices.Equal(enabled, events) {
		t.Errorf("the events %q are enabled, want %q", enabled, events)
	}
}

// promoted looks at a source that was a replica: there runs what was enabled, as it was created. On the source before nothing
// runs any more.
func (c calendar) promoted(t *testing.T, m, former *Manager) {
	t.Helper()
	wantScheduler(t, m, "ON")
	wantScheduler(t, former, "OFF")
	wantRan(t, m, m, "a", "it's")
	if events := slices.Sorted(maps.Keys(ran(t, m, m))); !slices.Equal(events, []string{"a", "it's"}) {
		t.Errorf("the events %q run", events)
	}
	wantEnabled(t, m, "a", "it's")
	var definer, charset, collation string
	must(t, admin(t, m).QueryRow("SELECT definer, character_set_client, collation_connection FROM mysql.event WHERE name = ?", "it's").Scan(&definer, &charset, &collation))
	if diff := cmp.Diff([]string{"root@%", "latin1", "latin1_bin"}, []string{definer, charset, collation}); diff != "" {
		t.Errorf("of the event (-want +got):\n%s", diff)
	}
}

// wantRan waits until a server has run each of the events twice, as another one knows.
func wantRan(t *testing.T, look, server *Manager, events ...string) {
	t.Helper()
	until.True(t, time.Minute, fmt.Sprintf("the events %q run", events), func() bool {
		times := ran(t, look, server)
		return !slices.ContainsFunc(events, func(e string) bool { return times[e] < 2 })
	})
}

// ran is how often which event has run on a server.
func ran(t *testing.T, look, server *Manager) map[string]int {
	t.Helper()
	times := map[string]int{}
	must(t, look.session(func(db *sql.DB) error {
		return query(context.Background(), db, func(scan func(...any) error) error {
			var event string
			var n int
			err := scan(&event, &n)
			times[event] = n
			return err
		}, "SELECT event, COUNT(*) FROM calendar.ticks WHERE server = ? GROUP BY event", server.serverID())
	}))
	return times
}
