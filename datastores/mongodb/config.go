package mongodb

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
)

const (
	port          = 27017
	adminDatabase = "admin"
	adminUser     = "os_admin" // the guest's own account, Trove's name for it

	// Below Env.DataDir, in the hands of the server's user.
	folder          = "mongodb"
	dataFolder      = folder + "/data"
	configFile      = folder + "/mongod.conf"
	maintenanceFile = folder + "/maintenance.conf"
	keyFile         = folder + "/key"
	toolsFile       = folder + "/tools.conf"
	socketFile      = folder + "/" + socketName
	socketName      = "mongodb-27017.sock" // made of the port
	logFile         = "mongodb.log"        // beside the folder, which is there once the server was prepared
)

func reservedDatabases() []string { return []string{adminDatabase, "local", "config"} }

func (m *Manager) dataPath(name string) string { return filepath.Join(m.env.DataDir, name) }

func (m *Manager) makeFolders() error {
	return errors.Join(m.data.MakeDir(folder), m.data.MakeDir(dataFolder))
}

// common are the settings of every start. The server writes its log to its standard output, and makes its socket in its working directory: a
// path below DataDir may be too long for one.
func (m *Manager) common() map[string]any {
	return map[string]any{
		"storage.dbPath":                       m.dataPath(dataFolder),
		"net.port":                             port,
		"net.unixDomainSocket.enabled":         true,
		"net.unixDomainSocket.pathPrefix":      ".",
		"net.unixDomainSocket.filePermissions": 0o700,
	}
}

// configure writes every file that a start needs.
func (m *Manager) configure() error {
	id, err := m.identity()
	if err != nil {
		return err
	}
	settings := m.common()
	settings["net.bindIp"] = m.env.Address
	settings["security.authorization"] = "enabled"
	settings["security.keyFile"] = m.dataPath(keyFile)
	settings["replication.replSetName"] = id.Set
	values, err := m.set.Load()
	if err != nil {
		return err
	}
	for name, value := range m.configuration(values) {
		settings[name] = value
	}
	t := m.wantedTLS()
	for name, value := range t.settings() {
		settings[name] = value
	}
	return errors.Join(
		m.data.WriteFile(keyFile, []byte(id.Key+"\n")),
		m.writeConfig(configFile, settings),
		m.own.SaveJSON(tlsFile, t),
	)
}

// writeConfig writes a configuration file of mongod's. That is YAML, and JSON is YAML in which no value breaks out.
func (m *Manager) writeConfig(name string, settings map[string]any) error {
	nested := map[string]any{}
	for path, value := range settings {
		at := nested
		parts := strings.Split(path, ".")
		for _, part := range parts[:len(parts)-1] {
			inner, ok := at[part].(map[string]any)
			if !ok {
				inner = map[string]any{}
				at[part] = inner
			}
			at = inner
		}
		at[parts[len(parts)-1]] = value
	}
	b, err := json.MarshalIndent(nested, "", " ")
	if err != nil {
		return err
	}
	return m.data.WriteFile(name, append(b, '\n'))
}
