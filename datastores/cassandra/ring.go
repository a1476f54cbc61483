package cassandra

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/cassandra-gocql-driver/v2"
	"golang.org/x/crypto/bcrypt"

	"github.com/cofferdb/coffer/datastores"
)

const (
	mostCopies = 3             // that a keyspace gets without being asked
	datacentre = "datacenter1" // the only one, as SimpleSnitch calls it
	networked  = "org.apache.cassandra.locator.NetworkTopologyStrategy"
	simple     = "org.apache.cassandra.locator.SimpleStrategy"
	// settledBy is the keyspace of the server's own that gets its copies last when a ring begins.
	settledBy = "system_distributed"
)

// withMember runs do at a member's server, under the guests' account.
func (m *Manager) withMember(ctx context.Context, v datastores.ClusterView, c datastores.ClusterMember, do func(context.Context, *session) error) error {
	if c.ID == v.Self {
		return m.with(ctx, do)
	}
	password, err := ringPassword(v.ID, v.Secret.Reveal())
	if err != nil {
		return err
	}
	secure, err := m.memberTLS(c.Address)
	if err != nil {
		return err
	}
	s, err := m.dial(ctx, c.Address, adminUser, password, secure)
	if err != nil {
		return told(err)
	}
	defer s.Close()
	return do(ctx, s)
}

// peers are the members that have their parts, but for the one that is asked: address -> id of the server.
func (s *session) peers(ctx context.Context) (map[string]string, error) {
	known := map[string]string{}
	var address, id string
	var begins []string
	err := s.each(ctx, "SELECT peer, host_id, tokens FROM system.peers", func() {
		if len(begins) > 0 {
			known[address] = id
		}
	}, &address, &id, &begins)
	return known, err
}

// reachesAll asks for something of which each member has a part.
func (s *session) reachesAll(ctx context.Context) error {
	rows := s.Query("SELECT role FROM system_auth.role_members").Consistency(gocql.All).IterContext(ctx)
	for role := ""; rows.Scan(&role); {
	}
	return told(rows.Close())
}

// keyspace is one, and how often the ring has it.
type keyspace struct {
	name, class string
	copies      int
}

// replicated is the statement that gives it another number of copies.
func (k keyspace) replicated(copies int) string {
	k.copies = copies
	return "ALTER KEYSPACE " + name(k.name) + k.replication()
}

func (k keyspace) replication() string {
	class, copies := "NetworkTopologyStrategy", datacentre
	if k.class == simple {
		class, copies = "SimpleStrategy", "replication_factor"
	}
	return fmt.Sprintf(" WITH replication = {'class': '%s', '%s': %d}", class, copies, k.copies)
}

// keyspaces are those that the ring shares out.
func (s *session) keyspaces(ctx context.Context) (all []keyspace, err error) {
	var k keyspace
	var replication map[string]string
	err = s.each(ctx, "SELECT keyspace_name, replication FROM system_schema.keyspaces", func() {
		k.class = replication["class"]
		factor := replication[datacentre]
		if k.class == simple {
			factor = replication["replication_factor"]
		}
		if copies, err := strconv.Atoi(factor); err == nil && (k.class == simple || k.class == networked) {
			k.copies = copies
			all = append(all, k)
		}
	}, &k.name, &replication)
	return all, err
}

// isSettled reports whether the ring was settled once. Before that it has no data.
func (s *session) isSettled(ctx context.Context) (bool, error) {
	all, err := s.keyspaces(ctx)
	return slices.ContainsFunc(all, func(k keyspace) bool { return k.name == settledBy && k.class == networked }), err
}

// begin gives what a new ring has its copies. All that is in it is the guests' account, which is written to each of them. With one copy more at
// a time whoever asks a majority finds it at every moment.
func (m *Manager) begin(ctx context.Context, s *session, copies int) error {
	password, err := m.adminPassword()
	if err != nil {
		return err
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), adminCost)
	if err != nil {
		return err
	}
	for n := 1; n <= copies; n++ {
		if err := s.exec(ctx, keyspace{name: "system_auth", class: networked}.replicated(n)); err != nil {
			return err
		}
		if err := s.Query(insertAdmin(string(hash))).Consistency(gocql.All).ExecContext(ctx); err != nil {
			return told(err)
		}
	}
	return s.exec(ctx, keyspace{name: "system_traces", class: networked}.replicated(copies), keyspace{name: settledBy, class: networked}.replicated(copies))
}

// raise gives every keyspace a copy more, until it has what a ring of this size gives it, and each time waits until the new copies are whole: so
// whoever asks a majority finds what a majority has acknowledged. It does so in rings in which each member has everything then, this one too; in
// larger ones keyspaces have got their copies before, or their makers wanted fewer.
func (m *Manager) raise(ctx context.Context, s *session, in *member, progress func(string)) error {
	known, err := s.peers(ctx)
	if err != nil {
		return err
	}
	size := 1 + len(known)
	for {
		if in.Unequal {
			progress("copying to all members")
			if err := m.nodetool(ctx, "repair", "-full"); err != nil {
				return err
			}
			in.Unequal = false
			if err := m.saveMember(in); err != nil {
				return err
			}
		}
		if size > mostCopies {
			return nil
		}
		all, err := s.keyspaces(ctx)
		if err != nil {
			return err
		}
		for _, k := range all {
			if k.copies >= size {
				continue
			}
			if !in.Unequal {
				in.Unequal = true
				if err := m.saveMember(in); err != nil {
					return err
				}
			}
			if err := s.exec(ctx, k.replicated(k.copies+1)); err != nil {
				return err
			}
		}
		if !in.Unequal {
			return nil
		}
	}
}

// isAsked reports whether it was a tenant who gave the keyspace so many copies.
func (k keyspace) isAsked() bool { return k.copies > mostCopies && !isSystem(k.name) }

// refuseFewer fails when so many members cannot have the copies that tenants have asked for.
func (s *session) refuseFewer(ctx context.Context, stay int) error {
	all, err := s.keyspaces(ctx)
	if err != nil {
		return err
	}
	var asked []string
	for _, k := range all {
		if k.copies > stay && k.isAsked() {
			asked = append(asked, fmt.Sprintf("keyspace %s has %d", k.name, k.copies))
		}
	}
	if len(asked) > 0 {
		return datastores.Errorf(datastores.Conflict, "the %d members that would stay cannot have as many copies as keyspaces have (%s): change these first, by ALTER KEYSPACE",
			stay, strings.Join(asked, ", "))
	}
	return nil
}

// lower takes copies away that so many members cannot have, but what tenants have asked for.
func (s *session) lower(ctx context.Context, stay int) error {
	all, err := s.keyspaces(ctx)
	if err != nil {
		return err
	}
	for _, k := range all {
		if k.copies > stay && !k.isAsked() {
			if err := s.exec(ctx, k.replicated(stay)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Upkeep implements [datastores.Upkeep]: a member keeps in mind whom it knows, ends sessions that another one's guest has cut off, and drops what newer members have taken over from it. A cleanup
// goes on in the server when nobody waits for it any more, and one that finds nothing to do is quick.
func (m *Manager) Upkeep(ctx context.Context) error {
	in, err := m.loadMember()
	if err != nil || in == nil || in.Standing != inside {
		return err
	}
	busy := false
	var known []string
	err = m.with(ctx, func(ctx context.Context, s *session) error {
		peers, err := s.peers(ctx)
		if err != nil {
			return err
		}
		known = slices.Sorted(maps.Keys(peers))
		kind := ""
		err = s.each(ctx, "SELECT kind FROM system_views.sstable_tasks", func() { busy = busy || strings.EqualFold(kind, "cleanup") }, &kind)
		if err != nil {
			return err
		}
		return m.endOutdated(ctx, s)
	})
	if err != nil {
		return err
	}
	isNew := func(address string) bool { return !slices.Contains(in.Cleaned, address) }
	if len(known) > 0 && !slices.Equal(known, in.Others) {
		in.Others = known
		if err := m.saveMember(in); err != nil {
			return err
		}
	}
	if busy || slices.Equal(known, in.Cleaned) {
		return nil
	}
	if slices.ContainsFunc(known, isNew) {
		if err := m.nodetool(ctx, "cleanup", "-j", "1"); err != nil {
			return err
		}
	}
	in.Cleaned = known
	return m.saveMember(in)
}
