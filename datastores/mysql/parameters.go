package mysql

import (
	"encoding/json"
	"strconv"

	"github.com/cofferdb/coffer/datastores"
)

// parameter is a parameter and where it is one.
type parameter struct {
	datastores.Parameter
	runtimeOnly bool   // no option of the program: set after each start
	sourceOnly  bool   // OFF while the server is read-only
	also        string // another variable of the server that has the same value; "": none
	family      string // "": all
	since       string // version; "": always
	until       string // the last version; "": still
}

// Parameters implements [datastores.Configuration].
func (m *Manager) Parameters() []datastores.Parameter {
	all := m.parameters()
	list := make([]datastores.Parameter, len(all))
	for i, p := range all {
		list[i] = p.Parameter
	}
	return list
}

// parameters are those of this variant and version.
func (m *Manager) parameters() []parameter {
	all := allParameters()
	list := make([]parameter, 0, len(all))
	for _, p := range all {
		if p.family != "" && p.family != m.variant.family ||
			p.since != "" && !atLeast(m.options.Version, p.since) ||
			p.until != "" && !atLeast(p.until, m.options.Version) {
			continue
		}
		list = append(list, p)
	}
	return list
}

const (
	most32 = "4294967295"
	most64 = "18446744073709551615"
	// mostSession is for buffers that each session has: no server has memory for more.
	mostSession = most32
)

// allParameters is the table: Trove's parameters of MySQL and MariaDB with the types that its clients know, their ranges those
// of the servers of today. Left out is what those do not have any more, what could take the server from its guest, and what
// makes sense in a session only (monitors, the table whose full-text index is looked at).
func allParameters() []parameter {
	return []parameter{
		integer("auto_increment_increment", "1", "65535"),
		integer("auto_increment_offset", "1", "65535"),
		integer("autocommit", "0", "1"),
		integer("bulk_insert_buffer_size", "0", mostSession),
		afterStart(words("character_set_client", charset)),
		afterStart(words("character_set_connection", charset)),
		afterStart(words("character_set_database", charset)),
		words("character_set_filesystem", charset),
		afterStart(words("character_set_results", charset)),
		words("character_set_server", charset),
		afterStart(words("collation_connection", charset)),
		afterStart(words("collation_database", charset)),
		words("collation_server", charset),
		integer("connect_timeout", "2", "31536000"),
		onSources(choice(eventScheduler, "ON", "OFF")),
		of("mariadb", integer("expire_logs_days", "1", "99")),
		integer("group_concat_max_len", "4", "1073741824"),
		of("mariadb", float("idle_transaction_timeout", "0", "31536000")).as(datastores.IntegerParameter),
		float("innodb_adaptive_flushing_lwm", "0", "70").as(datastores.IntegerParameter),
		static(integer("innodb_adaptive_hash_index_parts", "1", "512")),
		boolean("innodb_buffer_pool_dump_at_shutdown"),
		integer("innodb_buffer_pool_dump_pct", "1", "100"),
		upTo("11.7", integer("innodb_buffer_pool_size", "5242880", "1099511627776")),
		// From 11.8 on it cannot grow beyond what it had at the start.
		since("11.8", static(integer("innodb_buffer_pool_size", "5242880", "1099511627776"))),
		upTo("10.11", integer("innodb_change_buffer_max_size", "0", "50")),
		boolean("innodb_cmp_per_index_enabled"),
		integer("innodb_compression_failure_threshold_pct", "0", "100"),
		integer("innodb_compression_level", "0", "9"),
		integer("innodb_compression_pad_pct_max", "0", "75"),
		boolean("innodb_deadlock_detect"),
		choice("innodb_default_row_format", "redundant", "compact", "dynamic"),
		boolean("innodb_disable_sort_file_cache"),
		integer("innodb_file_per_table", "0", "1"),
		integer("innodb_fill_factor", "10", "100"),
		integer("innodb_flush_log_at_timeout", "1", "2700"),
		integer("innodb_flush_log_at_trx_commit", "0", "2"),
		static(choice("innodb_flush_method", "fsync", "O_DSYNC", "O_DIRECT", "O_DIRECT_NO_FSYNC")),
		integer("innodb_flush_neighbors", "0", "2"),
		boolean("innodb_flush_sync"),
		integer("innodb_flushing_avg_loops", "1", "1000"),
		of("mariadb", integer("innodb_ft_cache_size", "1600000", "80000000")),
		static(integer("innodb_ft_max_token_size", "10", "84")),
		static(integer("innodb_ft_min_token_size", "1", "16")),
		integer("innodb_ft_num_word_optimize", "1000", "10000"),
		integer("innodb_ft_result_cache_limit", "1000000", most32),
		static(integer("innodb_ft_sort_pll_degree", "1", "16")),
		of("mariadb", integer("innodb_ft_total_cache_size", "32000000", "1600000000")),
		integer("innodb_io_capacity", "100", most32),
		integer("innodb_io_capacity_max", "100", most32),
		integer("innodb_lock_wait_timeout", "1", "100000000"),
		of("mariadb", static(integer("innodb_log_buffer_size", "2097152", "2147479552"))),
		of("mysql", since("8.0", integer("innodb_log_buffer_size", "1048576", "4294967295"))),
		of("mysql", upTo("5.7", static(integer("innodb_log_buffer_size", "1048576", "4294967295")))),
		of("mariadb", integer("innodb_log_file_size", "4194304", "274877906944")),
		of("mysql", since("8.4", integer("innodb_redo_log_capacity", "8388608", "549755813888"))),
		integer("innodb_lru_scan_depth", "100", most32),
		float("innodb_max_dirty_pages_pct_lwm", "0", "99").as(datastores.IntegerParameter),
		integer("innodb_max_purge_lag_delay", "0", "10000000"),
		integer("innodb_max_undo_log_size", "10485760", "70368744177664"),
		integer("innodb_online_alter_log_max_size", "65536", most64),
		static(integer("innodb_open_files", "10", "1048576")),
		boolean("innodb_optimize_fulltext_only"),
		boolean("innodb_print_all_deadlocks"),
		afterStart(integer("innodb_purge_rseg_truncate_frequency", "1", "128")),
		boolean("innodb_random_read_ahead"),
		static(integer("innodb_sort_buffer_size", "65536", "67108864")),
		boolean("innodb_stats_include_delete_marked"),
		choice("innodb_stats_method", "nulls_equal", "nulls_unequal", "nulls_ignored"),
		boolean("innodb_stats_persistent"),
		integer("innodb_stats_persistent_sample_pages", "1", most32),
		integer("innodb_stats_transient_sample_pages", "1", most32),
		integer("innodb_sync_spin_loops", "0", most32),
		integer("interactive_timeout", "1", "31536000"),
		integer("join_buffer_size", "128", mostSession),
		integer("key_buffer_size", "8", most32),
		integer("local_infile", "0", "1"),
		boolean("log_queries_not_using_indexes"),
		float("long_query_time", "0", "31536000"),
		createOnly(static(integer(foldedBy, "0", "1"))),
		integer("max_allowed_packet", "1024", "1073741824"),
		integer("max_connect_errors", "1", most32),
		of("mariadb", integer("max_connections", "10", "100000").with("extra_max_connections")),
		of("mysql", integer("max_connections", "10", "100000")),
		integer("max_heap_table_size", "16384", mostSession),
		integer("max_prepared_stmt_count", "0", "1048576"),
		of("mysql", integer("max_execution_time", "0", most32)),
		of("mariadb", float("max_statement_time", "0", "31536000")),
		static(integer("max_user_connections", "0", "2147483647")), // a server that was started without cannot be given one
		integer("myisam_sort_buffer_size", "4096", mostSession),
		integer("net_read_timeout", "1", "31536000"),
		integer("net_write_timeout", "1", "31536000"),
		of("mariadb", static(boolean("performance_schema"))),
		integer("sort_buffer_size", "32768", mostSession),
		words("sql_mode", `[A-Z0-9_]*(,[A-Z0-9_]+)*`),
		integer("sync_binlog", "0", most32),
		integer("table_definition_cache", "400", "2097152"),
		integer("table_open_cache", "10", "1048576"),
		integer("thread_cache_size", "0", "16384"),
		integer("tmp_table_size", "1024", mostSession),
		integer("wait_timeout", "1", "31536000"),
	}
}

// createOnly is for what the names of files follow, or their content.
func createOnly(p parameter) parameter {
	p.CreateOnly = true
	return p
}

const charset = "[a-z0-9_]{1,64}"

func integer(name string, least, most json.Number) parameter {
	return parameter{Parameter: datastores.Parameter{Name: name, Type: datastores.IntegerParameter, Min: least, Max: most}}
}

// with names another variable that has the same value.
func (p parameter) with(also string) parameter {
	p.also = also
	return p
}

func float(name string, least, most json.Number) parameter {
	return integer(name, least, most).as(datastores.FloatParameter)
}

func boolean(name string) parameter {
	return parameter{Parameter: datastores.Parameter{Name: name, Type: datastores.BooleanParameter}}
}

func words(name, pattern string) parameter {
	return parameter{Parameter: datastores.Parameter{Name: name, Type: datastores.StringParameter, Pattern: pattern}}
}

func choice(name string, values ...string) parameter {
	return parameter{Parameter: datastores.Parameter{Name: name, Type: datastores.StringParameter, Values: values}}
}

// as is for a number whose fractions Trove's clients do not know.
func (p parameter) as(t datastores.ParameterType) parameter { p.Type = t; return p }

func static(p parameter) parameter            { p.RestartRequired = true; return p }
func afterStart(p parameter) parameter        { p.runtimeOnly = true; return p }
func onSources(p parameter) parameter         { p.sourceOnly = true; return p }
func of(family string, p parameter) parameter { p.family = family; return p }
func since(v string, p parameter) parameter   { p.since = v; return p }
func upTo(v string, p parameter) parameter    { p.until = v; return p }

// valueText is a value as the server is told it: a number without fraction has no point.
func valueText(value any) string {
	switch v := value.(type) {
	case bool:
		if v {
			return "ON"
		}
		return "OFF"
	case json.Number:
		if f, err := strconv.ParseFloat(string(v), 64); err == nil && f == float64(int64(f)) && f < 1<<53 {
			return strconv.FormatInt(int64(f), 10)
		}
		return string(v)
	case string:
		return v
	}
	return ""
}
