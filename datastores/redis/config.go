package redis

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cofferdb/coffer/datastores/configfile"
	"github.com/cofferdb/coffer/datastores/service"
)

const (
	port      = 6379
	adminUser = "os_admin" // the guest's own account, Trove's name for it

	// Below Env.DataDir, in the hands of the server's user.
	folder     = "redis"
	configFile = folder + "/redis.conf"
	usersFile  = folder + "/users.acl"
	socketFile = folder + "/" + socketName
	socketName = "redis.sock"

	// Below Env.Dir, for the guest alone.
	passwordFile = "redis-admin.password"
)

func (m *Manager) dataPath(name string) string { return filepath.Join(m.env.DataDir, name) }

// settle makes the folder and the guest's password where they are missing. Only Prepare may: a folder that is missing
// later means that the volume is, and an empty server must not take its place.
func (m *Manager) settle() error {
	if err := service.MakeDir(m.env.DataDir, folder, m.env.UID, m.env.GID); err != nil {
		return err
	}
	_, err := m.adminPassword()
	if errors.Is(err, os.ErrNotExist) {
		err = service.WriteFile(m.env.Dir, passwordFile, []byte(rand.Text()), -1, -1)
	}
	return err
}

// configure writes every file that a start needs. It only ever adds what is missing or outdated, so that it can run
// before each start: users and passwords that were set since stay.
func (m *Manager) configure() error {
	password, err := m.adminPassword()
	if err != nil {
		return err
	}
	if err := m.writeUsers(password); err != nil {
		return err
	}
	conf, err := m.config()
	if err != nil {
		return err
	}
	return service.WriteFile(m.env.DataDir, configFile, conf, m.env.UID, m.env.GID)
}

func (m *Manager) adminPassword() (string, error) {
	b, err := os.ReadFile(filepath.Join(m.env.Dir, passwordFile))
	return string(b), err
}

func (m *Manager) config() ([]byte, error) {
	directives := [][]string{
		{"bind", m.env.Address},
		{"port", strconv.Itoa(port)},
		{"protected-mode", "yes"},
		{"unixsocket", socketName}, // in dir: see service.DialUnix
		{"unixsocketperm", "700"},
		{"daemonize", "no"},
		{"logfile", ""},          // standard output, which is the service's log
		{"set-proc-title", "no"}, // the service is known by its command line
		{"dir", m.dataPath(folder)},
		{"aclfile", m.dataPath(usersFile)},
		{"databases", strconv.Itoa(m.options.Databases)},
		{"appendonly", "yes"},
		{"appendfsync", m.options.AppendFsync},
		{"save", ""}, // the append-only file has it all
		{"enable-protected-configs", "no"},
		{"enable-debug-command", "no"},
		{"enable-module-command", "no"},
		{"maxmemory-policy", m.options.MaxMemoryPolicy},
	}
	if m.env.MemoryMB > 0 {
		directives = append(directives, []string{"maxmemory", fmt.Sprintf("%dmb", m.env.MemoryMB*m.options.MaxMemoryPercent/100)})
	}
	return configfile.Redis(directives...)
}

// writeUsers makes the ACL file say what the guest's password is, and that the default user is off unless the file
// says otherwise already.
func (m *Manager) writeUsers(adminPassword string) error {
	have, err := m.readUsers()
	if err != nil {
		return err
	}
	admin := fmt.Sprintf("user %s on #%s ~* &* +@all\n", adminUser, hashed(adminPassword))
	hasDefault := false
	var others []byte
	for line := range bytes.Lines(have) {
		if bytes.HasPrefix(line, []byte("user "+adminUser+" ")) {
			continue
		}
		hasDefault = hasDefault || bytes.HasPrefix(line, []byte("user default "))
		others = append(others, line...)
	}
	if !hasDefault {
		others = append(others, "user default "+strings.Join(rootOff(), " ")+"\n"...)
	}
	return service.WriteFile(m.env.DataDir, usersFile, append([]byte(admin), others...), m.env.UID, m.env.GID)
}

func (m *Manager) readUsers() ([]byte, error) {
	root, err := os.OpenRoot(m.env.DataDir) // the folder is in the server's hands: see service.WriteFile
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	b, err := root.ReadFile(usersFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// hashed is a password as an ACL rule takes it after "#".
func hashed(password string) string {
	h := sha256.Sum256([]byte(password))
	return hex.EncodeToString(h[:])
}
