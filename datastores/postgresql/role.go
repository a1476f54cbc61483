package postgresql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

// role is the server's part in a replication, as it shall be at each start. It lies in the guest's own directory.
//
// A server that was made read-only is one that follows nobody: a standby without a source. No session of any user can
// write there, nor does the server itself, so that its position stands still; its replicas go on reading from it.
type role struct {
	Standby bool `json:"standby,omitempty"`
	// Source is who is followed; nil: nobody.
	Source *source `json:"source,omitempty"`
	// Rewinding: pg_rewind has begun and may not have ended. The server cannot be started.
	Rewinding bool `json:"rewinding,omitempty"`
}

// source is a server that is followed.
type source struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	User    string `json:"user"`
	Slot    string `json:"slot"`
}

const (
	roleName = "role.json"
	// passName is the password file of the account on the source, for the server itself.
	passName   = "source.pgpass"
	signalName = dataDir + "/standby.signal"
)

func (m *Manager) loadRole() (r role, err error) {
	b, err := os.ReadFile(filepath.Join(m.env.Dir, roleName))
	if errors.Is(err, os.ErrNotExist) {
		return role{}, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	return r, err
}

func (m *Manager) storeRole(r role) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return service.WriteFile(m.env.Dir, roleName, b, -1, -1)
}

// storePassword writes the account on a source where the server finds it.
func (m *Manager) storePassword(account datastores.ReplicaAccount) error {
	escape := strings.NewReplacer(`\`, `\\`, `:`, `\:`)
	line := fmt.Sprintf("*:*:*:%s:%s\n", escape.Replace(account.User), escape.Replace(account.Password.Reveal()))
	return m.writeFile(passName, []byte(line))
}

// takeRole makes the data directory start as the role has it.
func (m *Manager) takeRole() error {
	r, err := m.loadRole()
	if err != nil {
		return err
	}
	if r.Rewinding {
		return datastores.Errorf(datastores.Conflict, "the server is between two sources: attach it again")
	}
	if r.Standby {
		return m.writeFile(signalName, nil)
	}
	return m.removeFile(signalName)
}

// removeFile removes a file of the volume. One that is not there is no error.
func (m *Manager) removeFile(name string) error {
	volume, err := os.OpenRoot(m.env.DataDir)
	if err != nil {
		return err
	}
	defer func() { _ = volume.Close() }()
	if err := volume.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// addRole adds the settings that the role needs.
func (m *Manager) addRole(ctx context.Context, needs, settings map[string]string) error {
	r, err := m.loadRole()
	if err != nil || !r.Standby {
		return err
	}
	if r.Source != nil {
		needs["primary_conninfo"] = conninfo(*r.Source, "passfile", m.path(passName))
		needs["primary_slot_name"] = r.Source.Slot
	}
	return m.matchSource(ctx, needs, settings)
}

// conninfo is how libpq is told of a source; never a password.
func conninfo(s source, more ...string) string {
	fields := append([]string{"host", s.Address, "port", strconv.Itoa(port), "user", s.User, "dbname", homeDatabase,
		"sslmode", "disable", "gssencmode", "disable", "application_name", s.Slot, "connect_timeout", "10"}, more...)
	var b strings.Builder
	escape := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	for i := 0; i < len(fields); i += 2 {
		fmt.Fprintf(&b, "%s='%s' ", fields[i], escape.Replace(fields[i+1]))
	}
	return strings.TrimSpace(b.String())
}

// matchSource raises what a standby must have as much of as its source had: it would not start with less.
func (m *Manager) matchSource(ctx context.Context, needs, settings map[string]string) error {
	control, err := m.control(ctx)
	if err != nil {
		return err
	}
	for _, name := range []string{"max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_xacts", "max_locks_per_xact"} {
		had, err := strconv.Atoi(control[name+" setting"])
		if err != nil {
			continue
		}
		name = strings.Replace(strings.Replace(name, "prepared_xacts", "prepared_transactions", 1), "per_xact", "per_transaction", 1)
		set := settings[name]
		if v, ok := needs[name]; ok {
			set = v
		}
		if n, err := strconv.Atoi(set); err != nil || n < had {
			needs[name] = strconv.Itoa(had)
		}
	}
	return nil
}

// control reads what pg_controldata tells of the data directory.
func (m *Manager) control(ctx context.Context) (map[string]string, error) {
	out, err := m.run(ctx, []string{m.program("pg_controldata"), "-D", m.path(dataDir)}, service.RunOptions{})
	if err != nil {
		return nil, err
	}
	control := map[string]string{}
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(line, ":")
		control[name] = strings.TrimSpace(value)
	}
	return control, nil
}
