package inmemory

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// contents is a server's data: everything that was ever changed, and what has come of it. A backup is a copy of the
// history, an incremental one of its end; a replica is who gets every line of it.
type contents struct {
	history   []string // each a change in JSON
	databases map[string]datastores.Database
	users     map[account]*tenant
	root      []byte                       // its password; empty: off
	items     map[string]map[int]string    // by database and number
	texts     map[string]map[string]string // by database and name
}

type account struct{ Name, Host string }

type tenant struct {
	account
	Password []byte // any bytes, which a JSON string cannot hold
	Access   []string
}

type item struct {
	Database string
	Number   int
	Value    string
}

// change is one line of the history. What is not nil is changed, in the order of the fields.
type change struct {
	At           time.Time            `json:",omitzero"`
	DropDatabase *string              `json:",omitempty"`
	PutDatabase  *datastores.Database `json:",omitempty"`
	DropUser     *account             `json:",omitempty"`
	PutUser      *tenant              `json:",omitempty"`
	PutRoot      *[]byte              `json:",omitempty"`
	PutItem      *item                `json:",omitempty"`
	PutTexts     *textsPut            `json:",omitempty"`
}

func newContents() contents {
	return contents{
		databases: map[string]datastores.Database{"system": {Name: "system"}},
		users:     map[account]*tenant{{"os_admin", "%"}: {Password: []byte{0}}},
		items:     map[string]map[int]string{},
		texts:     map[string]map[string]string{},
	}
}

// change is how anything but replication changes a server's data.
func (s *server) change(c change) error {
	if s.readOnly || s.source != nil {
		return datastores.Errorf(datastores.Conflict, "the server is read-only")
	}
	if s.outside != "" {
		return datastores.Errorf(datastores.Unavailable, "%s", s.outside)
	}
	c.At = time.Now().UTC()
	line, err := json.Marshal(c)
	if err == nil {
		err = s.record(string(line))
	}
	if err == nil {
		s.log(generalLog, "changed: %d", len(s.history))
	}
	return err
}

// record takes one line of a history, its own or another's.
func (d *contents) record(line string) error {
	var c change
	if err := json.Unmarshal([]byte(line), &c); err != nil {
		return fmt.Errorf("line %d of the history: %w", len(d.history)+1, err)
	}
	d.history = append(d.history, line)
	if c.DropDatabase != nil {
		d.dropDatabase(*c.DropDatabase)
	}
	if c.PutDatabase != nil {
		d.databases[c.PutDatabase.Name] = *c.PutDatabase
	}
	if c.DropUser != nil {
		delete(d.users, *c.DropUser)
	}
	if c.PutUser != nil {
		d.users[c.PutUser.account] = c.PutUser
	}
	if c.PutRoot != nil {
		d.root = *c.PutRoot
	}
	if c.PutItem != nil {
		d.put(*c.PutItem)
	}
	if c.PutTexts != nil {
		d.putTexts(*c.PutTexts)
	}
	return nil
}

func (d *contents) dropDatabase(name string) {
	delete(d.databases, name)
	delete(d.items, name)
	delete(d.texts, name)
	for _, u := range d.users {
		u.Access = slices.DeleteFunc(u.Access, func(db string) bool { return db == name })
	}
}

func (d *contents) put(item item) {
	if d.items[item.Database] == nil {
		d.items[item.Database] = map[int]string{}
	}
	d.items[item.Database][item.Number] = item.Value
}

// digest tells of the items in a database.
func (d *contents) digest(database string) (items int, digest string) {
	h := sha256.New()
	for _, n := range slices.Sorted(maps.Keys(d.items[database])) {
		_, _ = fmt.Fprintf(h, "%d=%q\n", n, d.items[database][n])
	}
	return len(d.items[database]), fmt.Sprintf("%x", h.Sum(nil))
}

// follows reports whether the whole history is the beginning of another's.
func (d *contents) follows(other *contents) bool {
	return len(d.history) <= len(other.history) && slices.Equal(d.history, other.history[:len(d.history)])
}

func (u *tenant) has(database string) bool { return slices.Contains(u.Access, database) }
