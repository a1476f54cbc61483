package mysql

import (
	"crypto/sha256"
	"encoding/binary"
	"path/filepath"
	"strconv"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/configfile"
	"github.com/cofferdb/coffer/datastores/mysql/galera"
	"github.com/cofferdb/coffer/datastores/mysql/group"
)

const (
	port     = 3306
	port3306 = "3306"
	// ownPort is where MariaDB's other listener is, which shares its places with the guest's socket only. No definition opens
	// it, so a host's firewall lets nobody in.
	ownPort = 3307
)

// config renders my.cnf for values: what tenants may change, as they have it, and then what the guest needs, for the last one
// counts.
func (m *Manager) config(values datastores.Values) ([]byte, error) {
	r, err := m.loadSide()
	if err != nil {
		return nil, err
	}
	logs, err := m.loadLogs()
	if err != nil {
		return nil, err
	}
	settings := m.rendered(values)
	settings = append(settings, m.needs()...)
	settings = append(settings, m.variant.dialect.readOnly(r.ReadOnly, m.serverID())...)
	settings = append(settings, r.settings()...)
	if r.ReadOnly {
		settings = append(settings, configfile.Setting{Name: eventScheduler, Value: "OFF"})
	}
	settings = append(settings, m.logSettings(logs)...)
	own := configfile.Section{Name: m.variant.section, Settings: settings}
	in, err := m.loadMember()
	if err != nil || in == nil {
		return configfile.INI(own)
	}
	if m.groups() {
		own.Settings = append(group.Overrule(settings), group.Member{Cluster: in.Cluster, Address: m.env.Address, Port: port, TLS: m.env.ServerTLS()}.Settings()...)
		return configfile.INI(own)
	}
	member := m.galera(in)
	own.Settings = append(galera.Overrule(settings), member.Settings()...)
	return configfile.INI(own, member.Copying(), m.copying())
}

// defaults are the parameters for which a server of this guest has other values than the server's own defaults.
func (m *Manager) defaults() []configfile.Setting {
	all := []configfile.Setting{
		{Name: "local_infile", Value: "0"},
		{Name: foldedBy, Value: "0"},
		{Name: "character_set_server", Value: "utf8mb4"},
		{Name: "collation_server", Value: m.variant.collation},
		{Name: "max_connections", Value: strconv.Itoa(m.maxConnections())},
		{Name: "innodb_buffer_pool_size", Value: megabytes(m.bufferPool())},
		{Name: "key_buffer_size", Value: megabytes(8)}, // of MyISAM, which nobody uses; 128 MB by default
		// What was acknowledged survives a crash, and what was replicated is there after it.
		{Name: "innodb_flush_log_at_trx_commit", Value: "1"},
		{Name: "sync_binlog", Value: "1"},
		{Name: "long_query_time", Value: strconv.FormatFloat(float64(m.options.LongQueryMillis)/1000, 'f', -1, 64)},
	}
	if m.variant.family == "mariadb" || !atLeast(m.options.Version, "8.0") {
		return append(all, configfile.Setting{Name: "expire_logs_days", Value: strconv.Itoa(binlogDays)})
	}
	return append(all, configfile.Setting{Name: "binlog_expire_logs_seconds", Value: strconv.Itoa(binlogDays * 24 * 60 * 60)})
}

// needs are the settings that nobody may change.
func (m *Manager) needs() []configfile.Setting {
	settings := []configfile.Setting{
		{Name: "datadir", Value: m.path(dataDir)},
		{Name: "tmpdir", Value: m.path(tmpDir)},
		{Name: "secure_file_priv", Value: m.path(filesDir)},
		{Name: "socket", Value: "../" + socketName}, // from datadir, where the server works: see volume.Dir.Dial
		{Name: "pid_file", Value: m.path(serverPIDName)},
		{Name: "init_file", Value: m.path(initName)},
		{Name: "lc_messages_dir", Value: m.options.ShareDir},
		{Name: "character_sets_dir", Value: filepath.Join(m.options.ShareDir, "charsets")},
		{Name: "bind_address", Value: m.env.Address},
		{Name: "skip_name_resolve", Value: "ON"},
		{Name: "server_id", Value: strconv.FormatUint(uint64(m.serverID()), 10)},
		{Name: "log_bin", Value: "binlog"},
		{Name: "relay_log", Value: "relay"},
		// Rows mean the same on every server. Statements do not, and those on temporary tables would be logged by a replica
		// on which a tenant makes some.
		{Name: "binlog_format", Value: "ROW"},
		{Name: "max_binlog_size", Value: strconv.FormatInt(m.binlogSize(), 10)},
		{Name: "relay_log_space_limit", Value: strconv.FormatInt(m.binlogSpace(), 10)},
		// With rows, what a function does need not be foreseen; without it tenants could make none.
		{Name: "log_bin_trust_function_creators", Value: "ON"},
	}
	settings = append(settings, m.tlsSettings()...)
	return append(settings, m.variant.settings(m)...)
}

// pluginDir is where the package of the program keeps its plug-ins. What the program itself takes for it is fixed when it is
// built, so that one beside the machine's own would load the plug-ins of that.
func (m *Manager) pluginDir() string {
	return filepath.Join(filepath.Dir(m.options.Program), "..", "lib", "mysql", "plugin")
}

// serverID is the instance's number among servers that replicate: the same after every start, another one for a server that
// was restored from its backup.
func (m *Manager) serverID() uint32 {
	sum := sha256.Sum256([]byte(m.env.InstanceID))
	return max(1, binary.BigEndian.Uint32(sum[:4]))
}

func megabytes(n int) string { return strconv.Itoa(n << 20) }

// bufferPool is how much of the flavor's memory (MB; 0: not limited) caches data: two thirds of what the server itself
// leaves, the rest being for connections.
func (m *Manager) bufferPool() int {
	if m.env.MemoryMB == 0 {
		return 128
	}
	return max(16, (m.env.MemoryMB-m.variant.serverMB)*2/3)
}

// maxConnections is the option, or one connection for each 8 MB of memory.
func (m *Manager) maxConnections() int {
	if m.options.MaxConnections != 0 {
		return m.options.MaxConnections
	}
	return min(max(100, m.env.MemoryMB/8), maxConnections)
}
