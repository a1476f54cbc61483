package postgresql

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// neverSettable are patterns of what tenants may not set, each with the reason.
func neverSettable() map[string]string {
	return map[string]string{
		`.*_command`:                                   "the server runs it as a program",
		`.*_library|.*_libraries`:                      "the server loads it as code",
		`dynamic_library_path|extension_.*`:            "says where code is loaded from",
		`jit_provider|jit_dump_bitcode|jit_.*_support`: "loads a library by name, or writes files",
		`.*_file|config_file|hba_file|ident_file`:      "a path of the machine, or who is let in",
		`.*_director(y|ies)|extension_destdir`:         "a path of the machine",
		`log_(directory|filename|destination|file_mode|rotation_.*|truncate_on_rotation)|logging_collector|syslog_.*|event_source`: "where the log is, the guest looks for it there and keeps its size",
		`listen_addresses|port|bonjour.*|unix_socket_.*|cluster_name|update_process_title`:                                         "where the server is, and how its guest finds it",
		`ssl.*|krb_.*|gss_.*|password_encryption|scram_.*|db_user_namespace|authentication_libraries`:                              "who is let in, and how",
		`primary_.*|recovery_.*|promote_trigger_file|hot_standby|wal_level|max_wal_senders|max_replication_slots|wal_keep_size|max_slot_wal_keep_size|synchronous_standby_names|synchronized_.*|sync_replication_slots|wal_receiver_create_temp_slot|wal_retrieve_retry_interval`: "replication and backups, which are the guest's",
		`archive_.*|summarize_wal|wal_summary_.*`: "the archive, which would fill the volume",
		`fsync|full_page_writes|wal_log_hints|wal_sync_method|zero_damaged_pages|ignore_.*|data_sync_retry|wal_init_zero|wal_recycle`:                                                                                                            "what was acknowledged would be lost in a crash, or a backup would be broken",
		`allow_.*|debug_(discard_caches|logical_.*|parallel_query|io_direct)|trace_.*|.*_auth_delay|backtrace_functions|wal_consistency_checking|exit_on_error|restart_after_crash|remove_temp_files_after_crash|send_abort_.*|data_directory.*`: "for those who develop the server; it would not come back by itself",
		`dynamic_shared_memory_type|shared_memory_type|huge_page_size|min_dynamic_shared_memory|stats_temp_directory|timezone_abbreviations|max_logical_replication_workers|event_triggers|external_pid_file|output_plugin_libraries`:            "what the machine gives, or files by name",
	}
}

func TestDangerousParametersCannotBeSet(t *testing.T) {
	for _, o := range []Options{{Version: 15}, {Version: 17}} {
		for _, p := range New(datastores.Env{}, o).Parameters() {
			for pattern, why := range neverSettable() {
				if regexp.MustCompile(`^(?:` + pattern + `)$`).MatchString(strings.ToLower(p.Name)) {
					t.Errorf("%d: %s can be set: %s", o.Version, p.Name, why)
				}
			}
		}
	}
}

// Every parameter is asked of the real server: whether it is there, of that type, with those limits, and takes a restart.
func TestParametersAreTheServers(t *testing.T) {
	if !datastoretest.InImage(t, image) {
		return
	}
	for _, o := range []Options{DefaultOptions(), newer(t)} {
		m := preparedWith(t, o, quietly())
		rows, err := admin(t, m).query(t.Context(), `SELECT lower(name), vartype, context, coalesce(min_val, ''), coalesce(max_val, ''),
			coalesce(array_to_string(enumvals, ','), ''), coalesce(unit, ''), coalesce(boot_val, '') FROM pg_settings`)
		must(t, err)
		server := map[string][]value{}
		for _, row := range rows {
			server[row[0].String()] = row
		}
		defaults := datastores.Values{}
		for _, p := range m.parameters() {
			row, ok := server[p.Name]
			if !ok {
				t.Errorf("%d: there is no %s", o.Version, p.Name)
				continue
			}
			checkParameter(t, o.Version, p, row)
			if v := bootValue(p.Parameter, row[7].String()); v != nil {
				defaults[p.Name] = v
			}
		}
		for _, problem := range datastores.CheckValues(m.Parameters(), defaults) {
			t.Errorf("%d: the server's own value: %v", o.Version, problem)
		}
		ctx, cancel := context.WithCancel(t.Context())
		_, err = m.UpdateOverrides(ctx, defaults)
		cancel()
		must(t, err)
		must(t, m.Stop(t.Context()))
		must(t, m.Start(t.Context()))
	}
}

func checkParameter(t *testing.T, version int, p parameter, row []value) {
	t.Helper()
	kinds := map[string][]datastores.ParameterType{
		"bool": {datastores.BooleanParameter}, "enum": {datastores.StringParameter}, "string": {datastores.StringParameter},
		"integer": {datastores.IntegerParameter, datastores.StringParameter}, "real": {datastores.FloatParameter, datastores.StringParameter},
	}
	if !slices.Contains(kinds[row[1].String()], p.Type) || p.Type == datastores.StringParameter && p.Pattern != "" && row[6].String() == "" {
		t.Errorf("%d: %s is %s, the server's is %s in %q", version, p.Name, p.Type, row[1], row[6])
	}
	if restart := row[2].String() == "postmaster"; restart != p.RestartRequired {
		t.Errorf("%d: %s: restart %v, the server's context is %s", version, p.Name, p.RestartRequired, row[2])
	}
	if row[1].String() == "enum" && strings.Join(p.Values, ",") != row[5].String() {
		t.Errorf("%d: %s is one of %v, the server's of %s", version, p.Name, p.Values, row[5])
	}
	for _, limit := range []struct{ ours, servers string }{{string(p.Min), row[3].String()}, {string(p.Max), row[4].String()}} {
		tighter := p.Name == "max_connections" || p.Name == "superuser_reserved_connections" || p.Name == "max_wal_size" || p.Name == "min_wal_size"
		if limit.ours != "" && limit.ours != limit.servers && !tighter {
			t.Errorf("%d: %s has the limit %s, the server's is %s", version, p.Name, limit.ours, limit.servers)
		}
	}
}

// bootValue is the server's own value as a tenant would set it; nil: it is nobody's to set.
func bootValue(p datastores.Parameter, text string) any {
	switch p.Type {
	case datastores.BooleanParameter:
		return text == "on"
	case datastores.StringParameter:
		if text == "" {
			return nil
		}
		return text
	}
	return json.Number(text)
}

func TestRefusedOverridesAreTakenBack(t *testing.T) {
	m := prepared(t)
	_, err := m.UpdateOverrides(t.Context(), datastores.Values{"work_mem": "5MB"})
	must(t, err)
	_, err = m.UpdateOverrides(t.Context(), datastores.Values{"work_mem": "6MB", "timezone": "Moon/Crater"})
	wantKind(t, err, datastores.Invalid)
	got, err := show(t.Context(), m, "work_mem")
	must(t, err)
	if got != "5MB" {
		t.Errorf("work_mem is %s after a call that was refused", got)
	}
}
