package mysql

import (
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/cofferdb/coffer/datastores/configfile"
)

const port = 3306

// config renders my.cnf.
func (m *Manager) config() ([]byte, error) {
	return configfile.INI(configfile.Section{Name: "mariadbd", Settings: []configfile.Setting{
		{Name: "datadir", Value: m.path(dataDir)},
		{Name: "tmpdir", Value: m.path(tmpDir)},
		{Name: "secure_file_priv", Value: m.path(filesDir)},
		{Name: "socket", Value: "../" + socketName}, // from datadir, where the server works: see service.DialUnix
		{Name: "pid_file", Value: m.path(serverPIDName)},
		{Name: "lc_messages_dir", Value: m.options.ShareDir},
		{Name: "character_sets_dir", Value: filepath.Join(m.options.ShareDir, "charsets")},
		{Name: "bind_address", Value: m.env.Address},
		{Name: "port", Value: strconv.Itoa(port)},
		{Name: "skip_name_resolve", Value: "ON"},
		{Name: "local_infile", Value: "OFF"},
		{Name: "character_set_server", Value: "utf8mb4"},
		{Name: "collation_server", Value: "utf8mb4_general_ci"},
		{Name: "max_connections", Value: strconv.Itoa(m.maxConnections())},
		{Name: "innodb_buffer_pool_size", Value: megabytes(bufferPool(m.env.MemoryMB))},
		{Name: "key_buffer_size", Value: megabytes(8)}, // of MyISAM, which nobody uses; 128 MB by default
		{Name: "aria_pagecache_buffer_size", Value: megabytes(16)},
	}})
}

func megabytes(n int) string { return fmt.Sprintf("%dM", n) }

// serverMB is what the server needs beside the buffer pool, with a few connections.
const serverMB = 256

// bufferPool is how much of the flavor's memory (MB; 0: not limited) caches data: two thirds of what the server itself
// leaves, the rest being for connections.
func bufferPool(memoryMB int) int {
	if memoryMB == 0 {
		return 128
	}
	return max(16, (memoryMB-serverMB)*2/3)
}

// maxConnections is the option, or one connection for each 8 MB of memory.
func (m *Manager) maxConnections() int {
	if m.options.MaxConnections != 0 {
		return m.options.MaxConnections
	}
	return min(max(100, m.env.MemoryMB/8), maxConnections)
}
