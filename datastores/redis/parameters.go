package redis

import (
	"encoding/json"

	"github.com/cofferdb/coffer/datastores"
)

// parameter is one that tenants may set.
type parameter struct {
	datastores.Parameter
	text string // what the server has without it
	only string // the one variant that has it, or has it so; "": all
}

const maxDatabases = 10000

func fsyncs() []string { return []string{"always", "everysec", "no"} }

func policies() []string {
	return []string{"noeviction", "allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"}
}

const (
	anyInt  = "2147483647"
	anyLong = "9223372036854775807"
	// outputLimits leaves out the class of replicas: their limits are the guest's. The guest's own connections are normal ones,
	// and need a megabyte.
	outputLimits = normalLimit + `|` + pubsubLimit + `|` + normalLimit + ` ` + pubsubLimit + `|` + pubsubLimit + ` ` + normalLimit
	normalLimit  = `normal( (0|[1-9][0-9]{6,11})){2} [0-9]{1,12}`
	pubsubLimit  = `pubsub( [0-9]{1,12}){3}`
)

// table is what tenants may set, Trove's list brought up to date: slave is replica, ziplist is listpack. What is not in
// it is what the guest needs for itself (the test has the reasons), or is of no use to tenants.
func table() []parameter {
	return []parameter{
		number("tcp-backlog", "511", "0", anyInt).restart(),
		number("timeout", "0", "0", anyInt),
		number("tcp-keepalive", "300", "0", anyInt),
		choice("loglevel", "notice", "debug", "verbose", "notice", "warning"),
		number("maxclients", "10000", "64", "65000"),
		number("io-threads", "1", "1", "16").restart(),
		number("hz", "10", "1", "500"),
		flag("dynamic-hz", "yes").of("redis-7.0"),
		number("client-query-buffer-limit", "1073741824", "1048576", anyLong),
		text("client-output-buffer-limit", "normal 0 0 0 pubsub 33554432 8388608 60", outputLimits),
		number("proto-max-bulk-len", "536870912", "1048576", anyLong),
		number("tracking-table-max-keys", "1000000", "0", anyLong),
		text("notify-keyspace-events", "", `[KEglshzxeAtmdn$]*`),
		number("busy-reply-threshold", "5000", "0", anyLong),

		number("maxmemory", "0", "0", anyLong),
		choice("maxmemory-policy", "noeviction", policies()...),
		number("maxmemory-samples", "5", "1", "64"),
		number("maxmemory-eviction-tenacity", "10", "0", "100"),
		number("lfu-log-factor", "10", "0", anyInt),
		number("lfu-decay-time", "1", "0", anyInt),
		number("active-expire-effort", "1", "1", "10"),
		flag("activerehashing", "yes"),

		choice("appendfsync", "everysec", fsyncs()...),
		flag("no-appendfsync-on-rewrite", "no"),
		number("auto-aof-rewrite-percentage", "100", "0", anyInt),
		number("auto-aof-rewrite-min-size", "67108864", "0", anyLong),
		flag("aof-load-truncated", "yes"),
		flag("aof-rewrite-incremental-fsync", "yes"),
		flag("rdb-save-incremental-fsync", "yes"),
		flag("rdbcompression", "yes"),
		flag("rdbchecksum", "yes").restart(),
		flag("stop-writes-on-bgsave-error", "yes"),

		flag("replica-serve-stale-data", "yes"),
		number("replica-priority", "100", "0", anyInt),
		number("repl-ping-replica-period", "10", "1", "3600"),
		number("repl-timeout", "60", "10", "3600"),
		flag("repl-disable-tcp-nodelay", "no"),
		number("repl-backlog-size", "1048576", "16384", anyLong).of("redis-7.0"),
		number("repl-backlog-size", "10485760", "16384", anyLong).of("valkey-8.1"),
		number("min-replicas-to-write", "0", "0", anyInt),
		number("min-replicas-max-lag", "10", "0", anyInt),

		number("slowlog-log-slower-than", "10000", "-1", anyLong),
		number("slowlog-max-len", "128", "0", "100000"),
		number("commandlog-request-larger-than", "1048576", "-1", anyLong).of("valkey-8.1"),
		number("commandlog-reply-larger-than", "1048576", "-1", anyLong).of("valkey-8.1"),
		number("latency-monitor-threshold", "0", "0", anyLong),
		flag("latency-tracking", "yes"),

		number("hash-max-listpack-entries", "512", "0", anyInt),
		number("hash-max-listpack-value", "64", "0", anyInt),
		number("list-max-listpack-size", "-2", "-5", anyInt),
		number("list-compress-depth", "0", "0", anyInt),
		number("set-max-intset-entries", "512", "0", anyInt),
		number("set-max-listpack-entries", "128", "0", anyInt).of("valkey-8.1"),
		number("set-max-listpack-value", "64", "0", anyInt).of("valkey-8.1"),
		number("zset-max-listpack-entries", "128", "0", anyInt),
		number("zset-max-listpack-value", "64", "0", anyInt),
		number("hll-sparse-max-bytes", "3000", "0", "16000"),
		number("stream-node-max-bytes", "4096", "0", anyLong),
		number("stream-node-max-entries", "100", "0", anyLong),

		lazy("lazyfree-lazy-eviction", "redis-7.0"), lazy("lazyfree-lazy-eviction", "valkey-8.1"),
		lazy("lazyfree-lazy-expire", "redis-7.0"), lazy("lazyfree-lazy-expire", "valkey-8.1"),
		lazy("lazyfree-lazy-server-del", "redis-7.0"), lazy("lazyfree-lazy-server-del", "valkey-8.1"),
		lazy("lazyfree-lazy-user-del", "redis-7.0"), lazy("lazyfree-lazy-user-del", "valkey-8.1"),
		lazy("lazyfree-lazy-user-flush", "redis-7.0"), lazy("lazyfree-lazy-user-flush", "valkey-8.1"),
		lazy("replica-lazy-flush", "redis-7.0"), lazy("replica-lazy-flush", "valkey-8.1"),
	}
}

// parameters is the part of the table that a variant has.
func (v variant) parameters() []parameter {
	var list []parameter
	for _, p := range table() {
		if p.only == "" || p.only == v.name {
			list = append(list, p)
		}
	}
	return list
}

// Parameters implements [datastores.Configuration].
func (m *Manager) Parameters() []datastores.Parameter {
	var list []datastores.Parameter
	for _, p := range m.variant.parameters() {
		list = append(list, p.Parameter)
	}
	return list
}

func number(name, text string, least, most json.Number) parameter {
	return parameter{Parameter: datastores.Parameter{Name: name, Type: datastores.IntegerParameter, Min: least, Max: most}, text: text}
}

func flag(name, text string) parameter {
	return parameter{Parameter: datastores.Parameter{Name: name, Type: datastores.BooleanParameter}, text: text}
}

func choice(name, text string, values ...string) parameter {
	return parameter{Parameter: datastores.Parameter{Name: name, Type: datastores.StringParameter, Values: values}, text: text}
}

func text(name, text, pattern string) parameter {
	return parameter{Parameter: datastores.Parameter{Name: name, Type: datastores.StringParameter, Pattern: pattern}, text: text}
}

// lazy is a flag that Valkey turned on.
func lazy(name, only string) parameter {
	return flag(name, map[string]string{"redis-7.0": "no", "valkey-8.1": "yes"}[only]).of(only)
}

func (p parameter) restart() parameter       { p.RestartRequired = true; return p }
func (p parameter) of(only string) parameter { p.only = only; return p }
