package postgresql

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/user"
	"slices"
	"strconv"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/configfile"
)

// configure makes what every start needs beside the settings: the rules of access, and the data directory's part in a
// replication.
func (m *Manager) configure() error {
	if err := m.data.MakeDir(logDir); err != nil {
		return err
	}
	if err := m.trimLogs(); err != nil {
		return err
	}
	if err := m.writeSignal(); err != nil {
		return err
	}
	return m.writeRules()
}

// writeConfig writes postgresql.conf. What ALTER SYSTEM has left is thrown away.
func (m *Manager) writeConfig(settings map[string]string) error {
	b, err := configfile.PostgreSQL(sortedSettings(settings)...)
	if err != nil {
		return err
	}
	if err := m.data.WriteFile(dataDir+"/postgresql.auto.conf", nil); err != nil {
		return err
	}
	return m.data.WriteFile(configName, b)
}

// stored are the settings with the values that the tenant has set.
func (m *Manager) stored(ctx context.Context) (map[string]string, error) {
	values, err := m.set.Load()
	if err != nil {
		return nil, err
	}
	return m.settings(ctx, values)
}

// toStart are the settings to start the server with. raised reports whether they are more than stored ones, for a recovery.
func (m *Manager) toStart(ctx context.Context) (settings map[string]string, raised bool, err error) {
	if settings, err = m.stored(ctx); err == nil && settings[hotStandby] == "off" {
		raised, err = m.foreseeRecovery(ctx, settings)
	}
	return settings, raised, err
}

// settings are those of a server with the tenant's values.
func (m *Manager) settings(ctx context.Context, values datastores.Values) (map[string]string, error) {
	settings := m.defaults()
	maps.Copy(settings, texts(values))
	needs, err := m.needs()
	if err != nil {
		return nil, err
	}
	maps.Copy(settings, needs)
	if err := m.addTarget(settings); err != nil {
		return nil, err
	}
	return settings, m.addSide(ctx, settings)
}

func sortedSettings(settings map[string]string) []configfile.Setting {
	var all []configfile.Setting
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		all = append(all, configfile.Setting{Name: name, Value: settings[name]})
	}
	return all
}

// leastConnections is what the guest and a few replicas need beside a tenant.
const leastConnections = 20

// maxConnections is the option, or one connection for each 8 MB of memory.
func (m *Manager) maxConnections() int {
	if m.options.MaxConnections != 0 {
		return m.options.MaxConnections
	}
	return min(max(100, m.env.MemoryMB/8), 5000)
}

// defaults are the settings that the tenant may override. A quarter of the memory caches pages, the rest is for sessions
// and for the cache of the system.
func (m *Manager) defaults() map[string]string {
	memory := m.env.MemoryMB
	if memory == 0 {
		memory = 1024
	}
	shared := max(16, memory/4)
	connections := m.maxConnections()
	settings := map[string]string{}
	for _, p := range m.parameters() {
		if p.RestartRequired {
			settings[p.Name] = p.value
		}
	}
	maps.Copy(settings, map[string]string{
		"max_connections":      strconv.Itoa(connections),
		"shared_buffers":       megabytes(shared),
		"effective_cache_size": megabytes(max(32, memory*3/4)),
		"work_mem":             fmt.Sprintf("%dkB", max(1024, min(64<<10, (memory-shared)*1024/(2*connections)))),
		"maintenance_work_mem": megabytes(max(16, min(2048, memory/16))),
		"max_wal_size":         strconv.Itoa(m.share(10, 64, 2048)),
		"min_wal_size":         "32",
		"log_timezone":         "UTC",
		"timezone":             "UTC",
		"lc_messages":          "C",
	})
	return settings
}

func megabytes(n int) string { return fmt.Sprintf("%dMB", n) }

// share is a part of the volume in MB, within limits.
func (m *Manager) share(part uint64, least, most int) int {
	_, total, err := m.data.Space()
	if err != nil {
		return least
	}
	return max(least, min(most, int(total>>20/uint64(part))))
}

// needs are the settings without which the guest could not do its work; they go before everybody's.
func (m *Manager) needs() (map[string]string, error) {
	walKeep, slotKeep := m.options.WALKeepMB, m.options.SlotKeepMB
	if walKeep == 0 {
		walKeep = m.share(10, 64, 4096)
	}
	if slotKeep == 0 {
		slotKeep = m.share(5, 128, 16384)
	}
	needs := map[string]string{
		"wal_level":                   "replica",
		"archive_mode":                "off", // incremental backups read the log that is kept: see walBackup
		"max_wal_senders":             "20",
		"max_replication_slots":       "20",
		"wal_keep_size":               megabytes(walKeep),
		"max_slot_wal_keep_size":      megabytes(slotKeep),
		"wal_retrieve_retry_interval": "500ms",
		"password_encryption":         "scram-sha-256",
		"unix_socket_permissions":     "0700",
		"logging_collector":           "on",
		"log_destination":             "stderr",
		"log_file_mode":               "0600",
		"log_rotation_age":            "0",
		"log_rotation_size":           "0",
		"cluster_name":                "",
		// For a backup that is restored: its log is in place already, there is nothing to fetch. No text of anybody's is in
		// this line, which a shell reads.
		"restore_command": "/bin/false",
	}
	maps.Copy(needs, m.tlsSettings())
	return needs, m.addLogs(needs)
}

// writeRules writes who is let in, and who the guest is.
func (m *Manager) writeRules() error {
	me, err := user.LookupId(strconv.Itoa(os.Geteuid()))
	if err != nil {
		return fmt.Errorf("the guest's user needs a name, by which the server knows it: %w", err)
	}
	var ident, hba bytes.Buffer
	host := "host"
	if m.env.ServerTLS().Enforced() {
		host = "hostssl"
	}
	fmt.Fprintf(&ident, "guest \"%s\" %s\n", me.Username, adminUser)
	for _, rule := range [][]string{
		{"local", "all", adminUser, "peer map=guest"},
		{"local", "replication", adminUser, "peer map=guest"},
		{"local", "all", dumpUser, "scram-sha-256"},
		{"local", "all", "all", "reject"},
		{"host", "all", adminUser + "," + dumpUser, "all", "reject"},
		{host, "replication", "+" + replicasRole, "all", "scram-sha-256"},
		{host, homeDatabase, "+" + replicasRole, "all", "scram-sha-256"}, // pg_rewind
		{"host", "all", "+" + replicasRole, "all", "reject"},
		{host, "all", "all", "all", "scram-sha-256"},
	} {
		for _, field := range rule {
			hba.WriteString(field + " ")
		}
		hba.WriteString("\n")
	}
	if err := m.data.WriteFile(identName, ident.Bytes()); err != nil {
		return err
	}
	return m.data.WriteFile(hbaName, hba.Bytes())
}
