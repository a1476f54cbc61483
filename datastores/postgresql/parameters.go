package postgresql

import (
	"encoding/json"
	"slices"
	"strconv"

	"github.com/cofferdb/coffer/datastores"
)

// Parameters implements [datastores.Configuration]. They are Trove's, as the versions that are served have them, and what
// has come since. Types are Trove's, too, where the server takes them: a number is in the server's own unit, a text has one.
func (m *Manager) Parameters() []datastores.Parameter {
	var all []datastores.Parameter
	for _, p := range m.parameters() {
		all = append(all, p.Parameter)
	}
	return all
}

// parameters are the rows of the version.
func (m *Manager) parameters() []parameter {
	return slices.DeleteFunc(parameters(), func(p parameter) bool {
		return m.options.Version < p.first || p.last != 0 && m.options.Version > p.last
	})
}

// parameter is a row of the table: a parameter, and the versions that have it (0: all).
type parameter struct {
	datastores.Parameter
	first, last int
	value       string // the server's own, of one that takes a restart
}

func parameterOf(name string, kind datastores.ParameterType) parameter {
	return parameter{Parameter: datastores.Parameter{Name: name, Type: kind}}
}

func flag(name string) parameter { return parameterOf(name, datastores.BooleanParameter) }

func number(name string, least, most int64) parameter {
	p := parameterOf(name, datastores.IntegerParameter)
	p.Min, p.Max = json.Number(strconv.FormatInt(least, 10)), json.Number(strconv.FormatInt(most, 10))
	return p
}

func real(name string, least, most json.Number) parameter {
	p := parameterOf(name, datastores.FloatParameter)
	p.Min, p.Max = least, most
	return p
}

// free is a text that the server checks.
func free(name string) parameter { return parameterOf(name, datastores.StringParameter) }

func choice(name string, values ...string) parameter {
	p := free(name)
	p.Values = values
	return p
}

// memory is a number of bytes, such as 128MB; a number alone is in the server's own unit. off: -1 has a meaning.
func memory(name string, off bool) parameter { return measure(name, off, "B|kB|MB|GB|TB") }

// period is a time, such as 30s.
func period(name string, off bool) parameter { return measure(name, off, "us|ms|s|min|h|d") }

func measure(name string, off bool, units string) parameter {
	p := free(name)
	p.Pattern = `[0-9]{1,12}(\.[0-9]{1,6})? ?(` + units + `)?`
	if off {
		p.Pattern = `-1|` + p.Pattern
	}
	return p
}

// restart is of a parameter that takes one. What the server has for it without a file is written all the same: when it is
// taken out of the file the server says that it needs a restart, be it or not.
func (p parameter) restart(value string) parameter {
	p.RestartRequired, p.value = true, value
	return p
}

func (p parameter) since(version int) parameter {
	p.first = version
	return p
}

func (p parameter) until(version int) parameter {
	p.last = version
	return p
}

func parameters() []parameter {
	return []parameter{
		flag("array_nulls"),
		period("authentication_timeout", false),
		flag("autovacuum"),
		real("autovacuum_analyze_scale_factor", "0", "100"),
		number("autovacuum_analyze_threshold", 0, 2147483647),
		number("autovacuum_freeze_max_age", 100000, 2000000000).restart("200000000"),
		number("autovacuum_max_workers", 1, 262143).restart("3"),
		number("autovacuum_multixact_freeze_max_age", 10000, 2000000000).restart("400000000"),
		period("autovacuum_naptime", false),
		period("autovacuum_vacuum_cost_delay", true),
		number("autovacuum_vacuum_cost_limit", -1, 10000),
		real("autovacuum_vacuum_insert_scale_factor", "0", "100"),
		number("autovacuum_vacuum_insert_threshold", -1, 2147483647),
		real("autovacuum_vacuum_scale_factor", "0", "100"),
		number("autovacuum_vacuum_threshold", 0, 2147483647),
		number("autovacuum_work_mem", -1, 2147483647),
		memory("backend_flush_after", false),
		choice("backslash_quote", "safe_encoding", "on", "off"),
		period("bgwriter_delay", false),
		memory("bgwriter_flush_after", false),
		number("bgwriter_lru_maxpages", 0, 1073741823),
		real("bgwriter_lru_multiplier", "0", "10"),
		choice("bytea_output", "escape", "hex"),
		flag("check_function_bodies"),
		real("checkpoint_completion_target", "0", "1"),
		memory("checkpoint_flush_after", false),
		number("checkpoint_timeout", 30, 86400),
		period("checkpoint_warning", false),
		period("client_connection_check_interval", false),
		free("client_encoding"),
		choice("client_min_messages", "debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error"),
		number("commit_delay", 0, 100000),
		number("commit_siblings", 0, 1000),
		choice("compute_query_id", "auto", "regress", "on", "off"),
		choice("constraint_exclusion", "partition", "on", "off"),
		real("cpu_index_tuple_cost", "0", ""),
		real("cpu_operator_cost", "0", ""),
		real("cpu_tuple_cost", "0", ""),
		real("cursor_tuple_fraction", "0", "1"),
		free("datestyle"),
		period("deadlock_timeout", false),
		flag("debug_pretty_print"),
		flag("debug_print_parse"),
		flag("debug_print_plan"),
		flag("debug_print_rewritten"),
		number("default_statistics_target", 1, 10000),
		free("default_tablespace"),
		free("default_text_search_config"),
		choice("default_toast_compression", "pglz", "lz4"),
		flag("default_transaction_deferrable"),
		choice("default_transaction_isolation", "serializable", "repeatable read", "read committed", "read uncommitted"),
		flag("default_transaction_read_only"),
		memory("effective_cache_size", false),
		number("effective_io_concurrency", 0, 1000),
		flag("enable_async_append"),
		flag("enable_bitmapscan"),
		flag("enable_gathermerge"),
		flag("enable_group_by_reordering").since(17),
		flag("enable_hashagg"),
		flag("enable_hashjoin"),
		flag("enable_incremental_sort"),
		flag("enable_indexonlyscan"),
		flag("enable_indexscan"),
		flag("enable_material"),
		flag("enable_memoize"),
		flag("enable_mergejoin"),
		flag("enable_nestloop"),
		flag("enable_parallel_append"),
		flag("enable_parallel_hash"),
		flag("enable_partition_pruning"),
		flag("enable_partitionwise_aggregate"),
		flag("enable_partitionwise_join"),
		flag("enable_presorted_aggregate").since(17),
		flag("enable_seqscan"),
		flag("enable_sort"),
		flag("enable_tidscan"),
		flag("escape_string_warning"),
		number("extra_float_digits", -15, 3),
		choice("force_parallel_mode", "off", "on", "regress").until(15),
		number("from_collapse_limit", 1, 2147483647),
		flag("geqo"),
		number("geqo_effort", 1, 10),
		number("geqo_generations", 0, 2147483647),
		number("geqo_pool_size", 0, 2147483647),
		real("geqo_seed", "0", "1"),
		real("geqo_selection_bias", "1.5", "2"),
		number("geqo_threshold", 2, 2147483647),
		number("gin_fuzzy_search_limit", 0, 2147483647),
		memory("gin_pending_list_limit", false),
		real("hash_mem_multiplier", "1", "1000"),
		flag("hot_standby_feedback"),
		choice("huge_pages", "off", "on", "try").restart("try"),
		number("idle_in_transaction_session_timeout", 0, 2147483647),
		period("idle_session_timeout", false),
		choice("intervalstyle", "postgres", "postgres_verbose", "sql_standard", "iso_8601"),
		memory("io_combine_limit", false).since(17),
		flag("jit"),
		real("jit_above_cost", "-1", ""),
		real("jit_inline_above_cost", "-1", ""),
		real("jit_optimize_above_cost", "-1", ""),
		number("join_collapse_limit", 1, 2147483647),
		free("lc_messages"),
		free("lc_monetary"),
		free("lc_numeric"),
		free("lc_time"),
		flag("lo_compat_privileges"),
		number("lock_timeout", 0, 2147483647),
		number("log_autovacuum_min_duration", -1, 2147483647),
		flag("log_checkpoints"),
		flag("log_connections"),
		flag("log_disconnections"),
		flag("log_duration"),
		choice("log_error_verbosity", "terse", "default", "verbose"),
		flag("log_executor_stats"),
		flag("log_hostname"),
		free("log_line_prefix"),
		flag("log_lock_waits"),
		period("log_min_duration_sample", true),
		period("log_min_duration_statement", true),
		choice("log_min_error_statement", "debug5", "debug4", "debug3", "debug2", "debug1", "info", "notice", "warning", "error", "log", "fatal", "panic"),
		choice("log_min_messages", "debug5", "debug4", "debug3", "debug2", "debug1", "info", "notice", "warning", "error", "log", "fatal", "panic"),
		memory("log_parameter_max_length", true),
		memory("log_parameter_max_length_on_error", true),
		flag("log_parser_stats"),
		flag("log_planner_stats"),
		flag("log_recovery_conflict_waits"),
		choice("log_statement", "none", "ddl", "mod", "all"),
		real("log_statement_sample_rate", "0", "1"),
		flag("log_statement_stats"),
		number("log_temp_files", -1, 2147483647),
		free("log_timezone"),
		real("log_transaction_sample_rate", "0", "1"),
		memory("logical_decoding_work_mem", false),
		number("maintenance_io_concurrency", 0, 1000),
		memory("maintenance_work_mem", false),
		number("max_connections", leastConnections, 262143).restart("100"),
		number("max_files_per_process", 64, 2147483647).restart("1000"),
		number("max_locks_per_transaction", 10, 2147483647).restart("64"),
		number("max_notify_queue_pages", 64, 2147483647).restart("1048576").since(17),
		number("max_parallel_maintenance_workers", 0, 1024),
		number("max_parallel_workers", 0, 1024),
		number("max_parallel_workers_per_gather", 0, 1024),
		number("max_pred_locks_per_transaction", 10, 2147483647).restart("64"),
		number("max_prepared_transactions", 0, 262143).restart("0"),
		memory("max_stack_depth", false),
		period("max_standby_archive_delay", true),
		period("max_standby_streaming_delay", true),
		number("max_wal_size", 32, 2147483647),
		number("max_worker_processes", 0, 262143).restart("8"),
		memory("min_parallel_index_scan_size", false),
		memory("min_parallel_table_scan_size", false),
		number("min_wal_size", 32, 2147483647),
		flag("parallel_leader_participation"),
		real("parallel_setup_cost", "0", ""),
		real("parallel_tuple_cost", "0", ""),
		choice("plan_cache_mode", "auto", "force_generic_plan", "force_custom_plan"),
		flag("quote_all_identifiers"),
		real("random_page_cost", "0", ""),
		real("recursive_worktable_factor", "0.001", ""),
		free("search_path"),
		real("seq_page_cost", "0", ""),
		choice("session_replication_role", "origin", "replica", "local"),
		memory("shared_buffers", false).restart("16384"),
		flag("standard_conforming_strings"),
		number("statement_timeout", 0, 2147483647),
		number("superuser_reserved_connections", 3, 262143).restart("3"),
		flag("synchronize_seqscans"),
		choice("synchronous_commit", "local", "remote_write", "remote_apply", "on", "off"),
		number("tcp_keepalives_count", 0, 2147483647),
		number("tcp_keepalives_idle", 0, 2147483647),
		number("tcp_keepalives_interval", 0, 2147483647),
		period("tcp_user_timeout", false),
		memory("temp_buffers", false),
		number("temp_file_limit", -1, 2147483647),
		free("temp_tablespaces"),
		free("timezone"),
		flag("track_activities"),
		number("track_activity_query_size", 100, 1048576).restart("1024"),
		flag("track_commit_timestamp").restart("off"),
		flag("track_counts"),
		choice("track_functions", "none", "pl", "all"),
		flag("track_io_timing"),
		flag("track_wal_io_timing"),
		period("transaction_timeout", false).since(17),
		flag("transform_null_equals"),
		memory("vacuum_buffer_usage_limit", false).since(17),
		real("vacuum_cost_delay", "0", "100"),
		number("vacuum_cost_limit", 1, 10000),
		number("vacuum_cost_page_dirty", 0, 10000),
		number("vacuum_cost_page_hit", 0, 10000),
		number("vacuum_cost_page_miss", 0, 10000),
		number("vacuum_defer_cleanup_age", 0, 1000000).until(15),
		number("vacuum_failsafe_age", 0, 2100000000),
		number("vacuum_freeze_min_age", 0, 1000000000),
		number("vacuum_freeze_table_age", 0, 2000000000),
		number("vacuum_multixact_failsafe_age", 0, 2100000000),
		number("vacuum_multixact_freeze_min_age", 0, 1000000000),
		number("vacuum_multixact_freeze_table_age", 0, 2000000000),
		number("wal_buffers", -1, 262143).restart("-1"),
		choice("wal_compression", "pglz", "lz4", "zstd", "on", "off"),
		period("wal_receiver_status_interval", false),
		period("wal_receiver_timeout", false),
		number("wal_sender_timeout", 0, 2147483647),
		period("wal_writer_delay", false),
		memory("wal_writer_flush_after", false),
		memory("work_mem", false),
		choice("xmlbinary", "base64", "hex"),
		choice("xmloption", "content", "document"),
	}
}
