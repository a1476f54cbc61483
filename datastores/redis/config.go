package redis

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/configfile"
)

const (
	port      = 6379
	adminUser = "os_admin" // the guest's own account, Trove's name for it

	// Below Env.DataDir, in the hands of the server's user.
	folder     = "redis"
	configFile = folder + "/redis.conf"
	usersFile  = folder + "/users.acl"
	aofFolder  = folder + "/" + aofDir
	aofDir     = "appendonlydir"
	aofName    = "appendonly.aof"
	dumpFile   = folder + "/dump.rdb"
	socketFile = folder + "/" + socketName
	socketName = "redis.sock"
	logFile    = "redis.log" // beside the folder, which is there once the server was prepared

	// Below Env.Dir, for the guest alone.
	maxPassword  = 1 << 10 // bytes
	passwordFile = "redis-admin.password"
)

func (m *Manager) dataPath(name string) string { return filepath.Join(m.env.DataDir, name) }

// makeOwn makes the folder and the guest's password where they are missing. Only Prepare may: a folder that is missing
// later means that the volume is, and an empty server must not take its place.
func (m *Manager) makeOwn() error {
	if err := m.data.MakeDir(folder); err != nil {
		return err
	}
	_, err := m.adminPassword()
	if errors.Is(err, fs.ErrNotExist) {
		err = m.own.WriteFile(passwordFile, []byte(rand.Text()))
	}
	return err
}

// configure writes every file that a start needs. It only ever adds what is missing or outdated, so that it can run
// before each start: users and passwords that were set since stay.
func (m *Manager) configure() error {
	st, err := m.loadSide()
	if err != nil {
		return err
	}
	users, err := m.readUsers()
	if err != nil {
		return err
	}
	if err := m.writeUsers(users, st.ReadOnly); err != nil {
		return err
	}
	values, err := m.set.Load()
	if err != nil {
		return err
	}
	conf, err := m.config(values, st)
	if err != nil {
		return err
	}
	if err := m.data.WriteVolatile(configFile, conf); err != nil {
		return err
	}
	return errors.Join(m.tidy(), m.keepReserve())
}

func (m *Manager) adminPassword() (string, error) {
	b, err := m.own.ReadFile(passwordFile, maxPassword)
	return string(b), err
}

// config is redis.conf: what the guest needs, then what tenants may set, so that they cannot change the former.
func (m *Manager) config(values datastores.Values, st side) ([]byte, error) {
	directives := [][]string{
		{"bind", m.env.Address},
		{"protected-mode", "yes"},
		{"unixsocket", socketName}, // in dir: see volume.Dir.Dial
		{"unixsocketperm", "700"},
		{"daemonize", "no"},
		{"logfile", ""},          // standard output, which is the service's log
		{"set-proc-title", "no"}, // the service is known by its command line
		{"dir", m.dataPath(folder)},
		{"aclfile", m.dataPath(usersFile)},
		{"databases", strconv.Itoa(m.options.Databases)},
		{"appendonly", "yes"},
		{"appenddirname", aofDir},
		{"appendfilename", aofName},
		{"aof-use-rdb-preamble", "yes"},
		{"aof-timestamp-enabled", "yes"},  // so that one can go back to a second
		{"save", ""},                      // the append-only file has it all
		{"repl-diskless-sync", "yes"},     // a backup and a replica's first copy leave no file behind
		{"repl-diskless-sync-delay", "0"}, // and do not wait for others
		{"repl-backlog-ttl", "0"},         // a history lasts as long as the server runs
		{"replica-read-only", "yes"},
		{"replica-ignore-maxmemory", "yes"}, // a replica has what its source has
		{"enable-protected-configs", "no"},
		{"enable-debug-command", "no"},
		{"enable-module-command", "no"},
		{"sanitize-dump-payload", "yes"}, // RESTORE takes whatever a tenant has made up
	}
	if m.keepsLog() {
		directives = append(directives, []string{"aof-disable-auto-gc", "yes"})
	}
	directives = append(directives, m.listening()...)
	directives = append(directives, m.clustering(st.Cluster)...)
	if from := st.Source; from != nil {
		directives = append(directives,
			append([]string{"replicaof"}, m.placeOf(*from)...),
			[]string{"masteruser", from.User},
			[]string{"masterauth", from.Password},
		)
	}
	own, all := m.ownDefaults(), m.configuration(values, st)
	for _, p := range m.variant.parameters() {
		_, ours := own[p.Name]
		_, set := values[p.Name]
		if ours || set || all[p.Name] != p.text {
			directives = append(directives, directive(p.Name, all[p.Name]))
		}
	}
	return configfile.Redis(directives...)
}

// directive is a line of the file: what CONFIG SET takes as one text may be several words there.
func directive(name, value string) []string {
	words := strings.Fields(value)
	if len(words) == 0 {
		words = []string{""}
	}
	return append([]string{name}, words...)
}

// tidy removes what a copy from a source, or a server that was killed, has left beside the append-only file. None of it
// is ever read again.
func (m *Manager) tidy() error {
	tree, err := m.data.Open()
	if err != nil {
		return err
	}
	defer func() { _ = tree.Close() }()
	entries, err := tree.List(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		if name != filepath.Base(dumpFile) && !(strings.HasPrefix(name, "temp-") && strings.HasSuffix(name, ".rdb")) {
			continue
		}
		if err := tree.Remove(filepath.Join(folder, name)); err != nil {
			return err
		}
	}
	return nil
}
