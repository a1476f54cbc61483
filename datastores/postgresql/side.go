package postgresql

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// side is the server's side in a replication, as it shall be at each start. It is kept in the guest's own directory.
//
// A server that was made read-only is one that follows nobody: a standby without a source. No session of any user can
// write there, nor does the server itself, so that its position stands still; its replicas go on reading from it.
type side struct {
	Standby bool `json:"standby,omitempty"`
	// Source is who is followed; nil: nobody.
	Source *source `json:"source,omitempty"`
	// Rewinding: pg_rewind has begun and may not have ended. The server cannot be started.
	Rewinding bool `json:"rewinding,omitempty"`
	// Fenced: a replica receives nothing more.
	Fenced bool `json:"fenced,omitempty"`
	// Await is for whom the server waits when it is a source; nil: for nobody.
	Await *datastores.Await `json:"await,omitempty"`
}

// source is a server that is followed.
type source struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	User    string `json:"user"`
	Slot    string `json:"slot"`
}

const (
	sideName = "role.json" // what instances have
	// passName is the password file of the account on the source, for the server itself.
	passName   = "source.pgpass"
	signalName = dataDir + "/standby.signal"
)

func (m *Manager) loadSide() (s side, err error) {
	err = m.own.LoadJSON(sideName, &s)
	return s, err
}

func (m *Manager) saveSide(s side) error { return m.own.SaveJSON(sideName, s) }

// storePassword writes the account on a source where the server finds it.
func (m *Manager) storePassword(account datastores.ReplicaAccount) error {
	escape := strings.NewReplacer(`\`, `\\`, `:`, `\:`)
	line := fmt.Sprintf("*:*:*:%s:%s\n", escape.Replace(account.User), escape.Replace(account.Password.Reveal()))
	return m.data.WriteFile(passName, []byte(line))
}

// writeSignal makes the data directory start as the side has it.
func (m *Manager) writeSignal() error {
	r, err := m.loadSide()
	if err != nil {
		return err
	}
	if r.Rewinding {
		return datastores.Errorf(datastores.Conflict, "the server is between two sources: attach it again")
	}
	if r.Standby {
		return m.data.WriteFile(signalName, nil)
	}
	return m.data.Remove(signalName)
}

// addSide adds the settings that the side needs.
func (m *Manager) addSide(ctx context.Context, settings map[string]string) error {
	r, err := m.loadSide()
	if err != nil {
		return err
	}
	if settings[syncNames], err = awaitSetting(r.Await); err != nil {
		return err
	}
	if !r.Standby {
		// Nobody reads before a backup is restored, so that what it was written with need not be there.
		settings[hotStandby] = "off"
		return m.makePlaces(settings)
	}
	settings[hotStandby] = "on"
	if r.Source != nil && !r.Fenced {
		settings["primary_conninfo"] = m.conninfo(*r.Source, "passfile", m.path(passName))
		settings["primary_slot_name"] = r.Source.Slot
	}
	return m.matchSource(ctx, settings)
}

// hotStandby is the setting that lets readers in while the log of another server, or of a backup, is replayed.
const hotStandby = "hot_standby"

// conninfo is how libpq is told of a source; never a password.
func (m *Manager) conninfo(s source, more ...string) string {
	fields := append([]string{"host", s.Address, "port", strconv.Itoa(port), "user", s.User, "dbname", homeDatabase,
		"gssencmode", "disable", "application_name", s.Slot, "connect_timeout", "10"}, more...)
	if t := m.env.ServerTLS(); t.VerifySource {
		fields = append(fields, "sslmode", "verify-full", "sslrootcert", t.AuthorityFile())
	} else {
		fields = append(fields, "sslmode", "disable")
	}
	var b strings.Builder
	escape := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	for i := 0; i < len(fields); i += 2 {
		fmt.Fprintf(&b, "%s='%s' ", fields[i], escape.Replace(fields[i+1]))
	}
	return strings.TrimSpace(b.String())
}
