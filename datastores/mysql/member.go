package mysql

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/configfile"
	"github.com/cofferdb/coffer/datastores/mysql/galera"
	"github.com/cofferdb/coffer/datastores/mysql/group"
	"github.com/cofferdb/coffer/datastores/service"
)

const (
	memberUser = "os_cluster" // by which the guests of a cluster ask each other's servers how they are
	copyUser   = "os_sst"     // by which a server copies itself to a new member; of each server its own, and by its socket
	memberName = "member.json"
)

// member is what a member keeps of its cluster, in the guest's own directory, from when it joins until it leaves.
type member struct {
	Cluster string `json:"cluster"`
	Copy    string `json:"copy"` // the password of copyUser
	// Addresses are those of the members that it was together with last, its own among them; at first of all that there are to be. They
	// may come and all be killed before a founder is asked for them.
	Addresses []string `json:"addresses"`
	// View is who these are to each other, as the server's [galera.ViewFile] has it.
	View string `json:"view,omitempty"`
	// Founds: it finds nobody, for nobody else is in the cluster. It is so until the server has been in it.
	Founds bool `json:"founds,omitempty"`
	// Secret, of a member of a group, is the cluster's, by which members log in to each other.
	Secret string `json:"secret,omitempty"`
	// Alone and From are worked out before each start: nobody has what this server lacks, and where it stands.
	Alone bool   `json:"alone,omitempty"`
	From  string `json:"from,omitempty"`
}

// loadMember is nil of a server that is in no cluster.
func (m *Manager) loadMember() (*member, error) {
	var in *member
	err := m.own.LoadJSON(memberName, &in)
	return in, err
}

func newMember(cluster string, addresses []string, founds bool) *member {
	return &member{Cluster: cluster, Copy: rand.Text(), Addresses: addresses, Founds: founds}
}

// galera is what the server is told.
func (m *Manager) galera(in *member) galera.Member {
	told := galera.Member{
		Cluster: in.Cluster, Name: m.env.InstanceID, Address: m.env.Address, Addresses: in.Addresses, Port: port, From: in.From,
		TLS: m.env.ServerTLS(), Account: copyUser, Password: datastores.NewSecret(in.Copy),
	}
	if in.Alone {
		told.Addresses = nil
	}
	return told
}

// copying is the section for the tool by which the server copies itself. Clients from 11.4 on check a server's certificate by its
// socket, too.
func (m *Manager) copying() configfile.Section {
	return configfile.Section{Name: m.variant.physical.program, Settings: []configfile.Setting{m.variant.plain}}
}

// membersOwn are the statements at a start of a member by which it has accounts of its own, of which no other member hears.
func (m *Manager) membersOwn() ([]string, error) {
	in, err := m.loadMember()
	if err != nil || in == nil {
		return nil, err
	}
	if m.groups() {
		return group.Admit(account{memberUser, "%"}.sql(), m.variant.identified(datastores.NewSecret(in.Secret))), nil
	}
	a := account{copyUser, "localhost"}
	return []string{
		"SET SESSION wsrep_on = OFF",
		"CREATE OR REPLACE USER " + a.sql() + m.variant.identified(datastores.NewSecret(in.Copy)),
		"GRANT RELOAD, PROCESS, LOCK TABLES, REPLICATION CLIENT, BINLOG MONITOR ON *.* TO " + a.sql(),
	}, nil
}

// findPlace works out, for a member that does not run, from where on it lacks what the others have, and whether it is the one that has
// everything. After a crash only the storage engine knows.
func (m *Manager) findPlace(ctx context.Context) error {
	in, err := m.loadMember()
	if err != nil || in == nil || m.groups() {
		return err
	}
	file, err := m.data.ReadFile(dataDir+"/"+galera.StateFile, 1<<10)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	state, err := galera.ParseState(file)
	if err != nil {
		return err
	}
	if state.Position.Lost() {
		var said galera.Recovered
		_, err := service.Run(ctx, m.argv("--wsrep-recover"), service.RunOptions{Stderr: &said, Credential: m.service.Credential})
		if err == nil {
			state.Position, err = said.Position()
		}
		if err != nil {
			return fmt.Errorf("cannot find the server's place in its cluster's history: %w", err)
		}
	}
	in.Alone, in.From = in.Founds || state.Founds, ""
	if state.Position.Known() && !in.Founds { // a storage engine from a backup has a place in another cluster's history
		in.From = state.Position.String()
	}
	if !in.Alone {
		if err := m.restoreView(in); err != nil {
			return err
		}
	}
	// Members follow no source. The provider may have damaged the list of those that there are not: docs/mariadb.md.
	if err := m.data.Remove(dataDir + "/multi-master.info"); err != nil {
		return err
	}
	return m.own.SaveJSON(memberName, in)
}

// restoreView gives a server back what it forgets when it is stopped and what only a crash leaves: whom it was together with last. When
// all are stopped at once, none is the last, and they go on as after a loss of power, when they are together again.
func (m *Manager) restoreView(in *member) error {
	const name = dataDir + "/" + galera.ViewFile
	there, err := m.data.Exists(name)
	if err != nil || there || in.View == "" {
		return err
	}
	return m.data.WriteFile(name, []byte(in.View))
}

// atOnce is within what time members are stopped that are all stopped at once.
const atOnce = 10 * time.Second

// viewOf reads whom the server is together with; "": that is just being written. just: for less than [atOnce].
func (m *Manager) viewOf() (view string, just bool, err error) {
	tree, err := m.data.Open()
	if err != nil {
		return "", false, err
	}
	defer func() { _ = tree.Close() }()
	const name = dataDir + "/" + galera.ViewFile
	info, err := tree.Lstat(name)
	if err == nil {
		var file []byte
		file, err = tree.ReadFile(name, galera.MaxViewFile)
		view, just = string(file), time.Since(info.ModTime()) < atOnce
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return view, just, err
}

// remember keeps whom the server is together with. Those that are gone it need not look for: it is among those that go on without them.
func (m *Manager) remember(ctx context.Context, db *sql.DB, in *member) error {
	s, err := m.clusterStatus(ctx, db)
	if err != nil || s.Trouble() != "" || !slices.Contains(s.Addresses, m.env.Address) {
		return err
	}
	view, just, err := m.viewOf()
	if err != nil {
		return err
	}
	if view == "" {
		view = in.View
	}
	// Who has just left may be the first of all that are stopped. Servers go on only when those of one view are together and nobody else:
	// if one noted the view of all and another one the next, none would go on.
	if just && galera.HasLost(view, in.View) {
		return nil
	}
	if len(s.Addresses) == 1 { // nobody else has come yet, or all have left, which its own file says
		s.Addresses = in.Addresses
	}
	if slices.Equal(s.Addresses, in.Addresses) && view == in.View && !in.Founds {
		return nil
	}
	in.Addresses, in.View, in.Founds = s.Addresses, view, false
	return m.own.SaveJSON(memberName, in)
}

// rememberLast is remember before the server is stopped.
func (m *Manager) rememberLast(ctx context.Context) error {
	in, err := m.loadMember()
	if _, _, running := m.service.Running(); err != nil || in == nil || !running || m.groups() {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return m.session(func(db *sql.DB) error { return m.remember(ctx, db, in) })
}

// clusterStatus is how a server, this one or another member's, gets on with its cluster.
func (m *Manager) clusterStatus(ctx context.Context, db *sql.DB) (galera.Status, error) {
	of := map[string]string{}
	err := query(ctx, db, func(scan func(...any) error) error {
		var name, value string
		err := scan(&name, &value)
		of[name] = value
		return err
	}, "SHOW GLOBAL STATUS LIKE 'wsrep\\_%'")
	return galera.ReadStatus(of), failed(err, "cannot ask the server how it gets on with its cluster")
}

// isWell returns nil when a member takes writes.
func (m *Manager) isWell(ctx context.Context, db *sql.DB) error {
	if m.groups() {
		return m.isWellInGroup(ctx)
	}
	s, err := m.clusterStatus(ctx, db)
	if err != nil {
		return err
	}
	if trouble := s.Trouble(); trouble != "" {
		return datastores.Errorf(datastores.Unavailable, "%s", trouble)
	}
	return nil
}
