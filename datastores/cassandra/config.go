package cassandra

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

const (
	port        = 9042
	storagePort = 7000
	adminUser   = "os_admin"  // the guest's own account, Trove's name for it
	rootUser    = "cassandra" // Trove's

	// Below Env.DataDir, in the hands of the server's user.
	folder     = "cassandra"
	dataFolder = folder + "/data"
	confFolder = folder + "/conf"
	tempFolder = folder + "/tmp"
	yamlFile   = confFolder + "/cassandra.yaml"
	argsFile   = confFolder + "/java.args"
	toolsFile  = confFolder + "/nodetool.args"
	logbackXML = confFolder + "/logback.xml"
	toolsXML   = confFolder + "/logback-tools.xml"
	certFile   = confFolder + "/server.pem" // for the guest alone
	trustFile  = confFolder + "/trusted.pem"
	peerFile   = confFolder + "/peer.pem" // for neighbours
	peersFile  = confFolder + "/peers.pem"
	jmxAccess  = confFolder + "/jmx.access"
	jmxSecret  = confFolder + "/jmx.password"
	logFile    = "cassandra.log" // beside the folder, which is there once the server was prepared

	// Below Env.Dir, for the guest alone.
	passwordFile = "cassandra-admin.password"
	admittedFile = "cassandra-admitted"
	maxSecret    = 1 << 14 // bytes
)

func (m *Manager) dataPath(name string) string { return filepath.Join(m.env.DataDir, name) }

// makeOwn makes the folders and the guest's secrets where they are missing. Only Prepare may: a folder that is missing later means
// that the volume is, and an empty server must not take its place.
func (m *Manager) makeOwn() error {
	for _, dir := range []string{folder, dataFolder, confFolder, tempFolder} {
		if err := m.data.MakeDir(dir); err != nil {
			return err
		}
	}
	if _, err := m.adminPassword(); errors.Is(err, fs.ErrNotExist) {
		if err := m.own.WriteFile(passwordFile, []byte(rand.Text())); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	return m.makeCertificate()
}

// adminPassword is that of the guest's own account, which all guests of a ring share.
func (m *Manager) adminPassword() (string, error) {
	in, err := m.loadMember()
	if err != nil {
		return "", err
	}
	if in.isIn() {
		return ringPassword(in.Ring, in.Secret)
	}
	b, err := m.own.ReadFile(passwordFile, maxSecret)
	return string(b), err
}

// configure writes every file that a start needs. closed is for a start behind the guest's certificate.
func (m *Manager) configure(closed bool) error {
	tree, err := m.data.Open()
	if err != nil {
		return err
	}
	defer func() { _ = tree.Close() }()
	values, err := m.set.Load()
	if err != nil {
		return err
	}
	identity, err := m.own.ReadFile(identityFile, maxSecret)
	if err != nil {
		return err
	}
	password, err := m.jmxPassword()
	if err != nil {
		return err
	}
	in, err := m.loadMember()
	if err != nil {
		return err
	}
	peer := identity
	if in.isIn() {
		if peer, err = in.ringIdentity(); err != nil {
			return err
		}
	}
	for name, content := range map[string][]byte{
		yamlFile:   m.yaml(values, in, closed),
		argsFile:   lines(m.serverArgs(in, closed)),
		toolsFile:  lines(m.toolArgs()),
		logbackXML: []byte(fmt.Sprintf(logback, "INFO", "%-5level %date{ISO8601} %thread %logger{0} - %msg%n")),
		toolsXML:   []byte(fmt.Sprintf(logback, "ERROR", "%msg%n")),
		certFile:   identity,
		trustFile:  certificateOf(identity),
		peerFile:   peer,
		peersFile:  certificateOf(peer),
		jmxAccess:  []byte(jmxUser + " readwrite\n"),
		jmxSecret:  []byte(jmxUser + " " + password + "\n"),
	} {
		if err := tree.WriteFile(name, content); err != nil {
			return err
		}
	}
	// What native code was unpacked, and what a nodetool has left.
	return errors.Join(tree.Remove(tempFolder), tree.MakeDir(tempFolder))
}

// logback has both programs write to their output and error, and no files.
const logback = `<configuration><appender name="out" class="ch.qos.logback.core.ConsoleAppender">` +
	`<target>System.err</target><encoder><pattern>%[2]s</pattern></encoder></appender><root level="%[1]s"><appender-ref ref="out"/></root></configuration>
`

// setting is a line of cassandra.yaml. The value is written as JSON, which YAML takes.
type setting struct {
	name  string
	value any
}

// yaml is cassandra.yaml: what the guest needs, what the instance's size makes of the memory, and what tenants may set, which is
// never among the former.
func (m *Manager) yaml(values datastores.Values, in *member, closed bool) []byte {
	authenticator, authorizer := "PasswordAuthenticator", "CassandraAuthorizer"
	if closed {
		authenticator, authorizer = "AllowAllAuthenticator", "AllowAllAuthorizer"
	}
	all := append(m.ringSettings(in), []setting{
		{"partitioner", "org.apache.cassandra.dht.Murmur3Partitioner"},
		{"endpoint_snitch", "SimpleSnitch"},
		{"authenticator", authenticator}, {"authorizer", authorizer}, {"role_manager", "CassandraRoleManager"},
		{"data_file_directories", []string{m.dataPath(dataFolder)}},
		{"commitlog_directory", m.dataPath(folder + "/commitlog")},
		{"saved_caches_directory", m.dataPath(folder + "/saved_caches")},
		{"hints_directory", m.dataPath(folder + "/hints")},
		{"cdc_raw_directory", m.dataPath(folder + "/cdc_raw")},
		{"listen_address", m.env.Address}, {"rpc_address", m.env.Address},
		{"storage_port", storagePort}, {"native_transport_port", port}, {"start_native_transport", true},
		// Whoever speaks to this port can write everything: nobody has the key but the server and its ring.
		{"server_encryption_options", with(m.mutual(peerFile, peersFile), "internode_encryption", "all")},
		{clientsSetting, m.clients(closed)},
		// What is dropped is gone; backups are the guest's.
		{"auto_snapshot", false}, {"incremental_backups", false}, {"snapshot_before_compaction", false},
		{"uuid_sstable_identifiers_enabled", true}, // a table's file is never another one of the same name: see backup.go
		{"user_defined_functions_enabled", false},
		{"disk_failure_policy", "die"}, {"commit_failure_policy", "die"},
	}...)
	all = append(append(all, m.variant.yaml...), m.memory().yaml()...)
	set := m.configuration(values)
	for _, p := range m.parameters() {
		all = append(all, setting{p.Name, set[p.Name]})
	}
	if set["commitlog_sync"] == "periodic" { // the other way has none
		all = append(all, setting{"commitlog_sync_period", "1000ms"})
	}
	var b strings.Builder
	for _, s := range all {
		value, _ := json.Marshal(s.value)
		fmt.Fprintf(&b, "%s: %s\n", s.name, value)
	}
	return []byte(b.String())
}

// mutual is a port whose both ends show certificates.
func (m *Manager) mutual(identity, trusted string) map[string]any {
	return map[string]any{
		"optional": false, "require_client_auth": true, "keystore": m.dataPath(identity), "truststore": m.dataPath(trusted),
		"ssl_context_factory": map[string]any{"class_name": pemFactory},
	}
}

const pemFactory = "org.apache.cassandra.security.PEMBasedSslContextFactory"

// with is options and one more.
func with(options map[string]any, name string, value any) map[string]any {
	all := map[string]any{name: value}
	for n, v := range options {
		all[n] = v
	}
	return all
}

func lines(args []string) []byte { return []byte(strings.Join(args, "\n") + "\n") }
