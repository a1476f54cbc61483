package cassandra

import (
	"encoding/json"

	"github.com/cofferdb/coffer/datastores"
)

// parameter is one that tenants may set. Each takes a restart: the server reads its configuration once.
type parameter struct {
	datastores.Parameter
	value any // what the server has without it
}

const (
	anyInt = "2147483647"
	// sizes are whole binary units, as the server takes them; 9999 of them is more than anybody has.
	sizes = `(0|[1-9][0-9]{0,3})(KiB|MiB)`
)

// parameters is what tenants may set: Trove's list, in the names that both versions have, without what says where the server lives, who
// its neighbours are, or what code it runs. The memory follows from the flavor.
func (m *Manager) parameters() []parameter {
	return []parameter{
		choice("commitlog_sync", "batch", "batch", "periodic"),
		size("compaction_throughput", "64MiB/s", `(0|[1-9][0-9]{0,3})MiB/s`),
		number("concurrent_compactors", 2, "1", "16"),
		number("concurrent_reads", 32, "2", "256"),
		number("concurrent_writes", 32, "2", "256"),
		number("concurrent_counter_writes", 32, "2", "256"),
		number("concurrent_materialized_view_writes", 32, "2", "256"),
		number("native_transport_max_threads", 128, "8", "512"),
		size("row_cache_size", "0MiB", `(0|[1-9][0-9]{0,5})MiB`),

		duration("request_timeout", "10s", "1"), duration("read_request_timeout", "5s", "1"),
		duration("range_request_timeout", "10s", "1"), duration("write_request_timeout", "2s", "1"),
		duration("counter_write_request_timeout", "5s", "1"), duration("truncate_request_timeout", "1m", "1"),
		duration("slow_query_log_timeout", "500ms", "0"),

		size("batch_size_warn_threshold", "5KiB", sizes), size("batch_size_fail_threshold", "50KiB", sizes),
		number("unlogged_batch_across_partitions_warn_threshold", 10, "0", anyInt),
		number("tombstone_warn_threshold", 1000, "1", anyInt), number("tombstone_failure_threshold", 100000, "1", anyInt),
		flag("materialized_views_enabled"), flag("sasi_indexes_enabled"),

		// What a role has lost works that much longer; at 0 every statement looks it up.
		duration("roles_validity", "0s", "0"), duration("permissions_validity", "0s", "0"), duration("credentials_validity", "0s", "0"),
	}
}

// Parameters implements [datastores.Configuration].
func (m *Manager) Parameters() []datastores.Parameter {
	var list []datastores.Parameter
	for _, p := range m.parameters() {
		p.RestartRequired = true
		list = append(list, p.Parameter)
	}
	return list
}

func number(name string, value int, least, most json.Number) parameter {
	return parameter{datastores.Parameter{Name: name, Type: datastores.IntegerParameter, Min: least, Max: most}, value}
}

func choice(name, value string, values ...string) parameter {
	return parameter{datastores.Parameter{Name: name, Type: datastores.StringParameter, Values: values}, value}
}

func size(name, value, pattern string) parameter {
	return parameter{datastores.Parameter{Name: name, Type: datastores.StringParameter, Pattern: pattern}, value}
}

func flag(name string) parameter {
	return parameter{datastores.Parameter{Name: name, Type: datastores.BooleanParameter}, false}
}

func duration(name, value string, least json.Number) parameter {
	return parameter{datastores.Parameter{Name: name, Type: datastores.DurationParameter, Min: least, Max: "3600"}, value}
}
