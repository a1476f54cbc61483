package mysql

import (
	"database/sql"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// neverSettable are parameters by which a tenant could leave the server, or take it from its guest.
func neverSettable() map[string]string {
	const (
		path     = "the server would read, write or run what lies at a path of the tenant's choice"
		identity = "replicas and the guest know the server by it"
		guest    = "the guest could not come to the server any more, or not keep tenants out"
		durable  = "what is replicated and backed up hangs on it"
	)
	never := map[string]string{}
	for why, names := range map[string]string{
		path: "plugin_dir plugin_load plugin_load_add init_file init_connect init_slave datadir tmpdir slave_load_tmpdir basedir " +
			"character_sets_dir lc_messages_dir secure_file_priv general_log_file slow_query_log_file log_error log_bin_index " +
			"relay_log relay_log_index relay_log_info_file innodb_data_home_dir innodb_data_file_path innodb_log_group_home_dir " +
			"innodb_undo_directory innodb_temp_data_file_path innodb_tmpdir innodb_buffer_pool_filename aria_log_dir_path " +
			"ssl_ca ssl_cert ssl_key ssl_capath ssl_crl ssl_crlpath log_basename feedback_url " +
			"server_audit_file_path file_key_management_filename wsrep_provider wsrep_sst_method",
		identity: "server_id gtid_domain_id gtid_seq_no gtid_slave_pos gtid_binlog_state report_host report_port server_uuid",
		guest: "bind_address port socket pid_file skip_networking skip_name_resolve skip_grant_tables extra_port extra_max_connections " +
			"read_only super_read_only innodb_read_only offline_mode user chroot old_passwords secure_auth " +
			"default_authentication_plugin authentication_policy require_secure_transport log_output core_file " +
			"default_password_lifetime strict_password_validation innodb_force_recovery disconnect_on_expired_password",
		durable: "log_bin binlog_format log_slave_updates gtid_strict_mode gtid_mode enforce_gtid_consistency binlog_do_db " +
			"binlog_ignore_db replicate_do_db replicate_ignore_db replicate_do_table replicate_ignore_table relay_log_purge " +
			"max_binlog_total_size max_binlog_size binlog_expire_logs_seconds sql_log_bin innodb_page_size innodb_doublewrite " +
			"innodb_checksum_algorithm innodb_encrypt_tables encrypt_binlog slave_skip_errors slave_exec_mode foreign_key_checks",
	} {
		for name := range strings.FieldsSeq(names) {
			never[name] = why
		}
	}
	return never
}

func TestNothingDangerousIsSettable(t *testing.T) {
	for _, name := range []string{"mariadb", "mysql", "percona"} {
		v, _ := variantOf(name, "")
		for _, version := range v.versions {
			o := DefaultOptions()
			o.Variant, o.Version = name, version
			m := New(datastores.Env{}, o)
			for _, p := range m.Parameters() {
				if why, dangerous := neverSettable()[p.Name]; dangerous {
					t.Errorf("%s %s: %s can be set: %s", name, version, p.Name, why)
				}
			}
			for _, s := range m.needs() {
				for _, p := range m.Parameters() {
					if p.Name == s.Name {
						t.Errorf("%s %s: %s can be set, and is what the guest needs", name, version, p.Name)
					}
				}
			}
		}
	}
}

// The table is held against the server of each version: every parameter is one, of that type, static where the table says
// so, and takes its default and the ends of its range.
func TestParametersAreTheServers(t *testing.T) {
	t.Run("10.11", func(t *testing.T) { parametersAreTheServers(t, prepared(t)) })
	t.Run("11.8", func(t *testing.T) {
		if datastoretest.InImage(t, image) {
			parametersAreTheServers(t, preparedNewest(t))
		}
	})
}

// byHalf are parameters that the server takes at run time, but not always.
const byHalf = "innodb_buffer_pool_size max_user_connections"

// costly are those of which the ends of the range take memory or space that the machine may not have, or end this session.
const costly = "innodb_buffer_pool_size innodb_log_file_size max_connections autocommit"

func parametersAreTheServers(t *testing.T, m *Manager) {
	db, err := m.connect(rounding())
	must(t, err)
	defer func() { _ = db.Close() }()
	for _, p := range m.parameters() {
		var kind, standard, readOnly string
		var option sql.NullString
		err := db.QueryRow("SELECT VARIABLE_TYPE, DEFAULT_VALUE, READ_ONLY, COMMAND_LINE_ARGUMENT FROM information_schema.SYSTEM_VARIABLES WHERE VARIABLE_NAME = ?",
			p.Name).Scan(&kind, &standard, &readOnly, &option)
		if err != nil {
			t.Errorf("%s: %v", p.Name, err)
			continue
		}
		if (readOnly == "YES") != p.RestartRequired && !strings.Contains(byHalf, p.Name) {
			t.Errorf("%s: read-only is %s, restart required %v", p.Name, readOnly, p.RestartRequired)
		}
		if hasType(p, kind) != nil {
			t.Error(hasType(p, kind))
		}
		if p.RestartRequired {
			continue
		}
		if _, err := db.Exec("SET GLOBAL " + p.Name + " = DEFAULT"); err != nil {
			t.Errorf("%s: its default: %v", p.Name, err)
		}
		for _, end := range []json.Number{p.Min, p.Max} {
			if end == "" || strings.Contains(costly, p.Name) || strings.HasSuffix(p.Name, "_buffer_size") {
				continue
			}
			if _, err := db.Exec("SET GLOBAL " + p.Name + " = " + string(end)); err != nil {
				t.Errorf("%s = %s: %v", p.Name, end, err)
				continue
			}
			var shown string
			must(t, db.QueryRow("SELECT @@GLOBAL."+p.Name).Scan(&shown))
			if a, b := number(shown), number(string(end)); a < b*0.99-1024 || a > b*1.01+1024 {
				t.Errorf("%s = %s: the server made %s of it", p.Name, end, shown)
			}
		}
		if _, err := db.Exec("SET GLOBAL " + p.Name + " = DEFAULT"); err != nil {
			t.Errorf("%s: its default: %v", p.Name, err)
		}
	}
	startsWithAll(t, m)
}

func number(s string) float64 {
	n, _ := strconv.ParseFloat(s, 64)
	return n
}

func hasType(p parameter, kind string) error {
	fits := map[datastores.ParameterType][]string{
		datastores.IntegerParameter: {"INT", "BIGINT", "DOUBLE", "BOOLEAN"},
		datastores.FloatParameter:   {"DOUBLE"},
		datastores.BooleanParameter: {"BOOLEAN"},
		datastores.StringParameter:  {"ENUM", "SET", "VARCHAR"},
	}
	for _, fit := range fits[p.Type] {
		if strings.HasPrefix(kind, fit) {
			return nil
		}
	}
	return datastores.Errorf(datastores.Internal, "%s: the server says %s, the table %s", p.Name, kind, p.Type)
}

// startsWithAll starts the server with what it runs with, every parameter written out: all are options of its program.
func startsWithAll(t *testing.T, m *Manager) {
	values := datastores.Values{}
	for _, p := range m.parameters() {
		shown, err := show(t.Context(), m, p.Name)
		must(t, err)
		switch p.Type {
		case datastores.BooleanParameter:
			values[p.Name] = shown == "true"
		case datastores.StringParameter:
			values[p.Name] = shown
		default:
			if shown == "ON" || shown == "OFF" {
				shown = map[string]string{"ON": "1", "OFF": "0"}[shown]
			}
			values[p.Name] = json.Number(shown)
		}
	}
	values["expire_logs_days"] = json.Number("7")
	values["innodb_log_buffer_size"] = json.Number("16777216")
	for _, problem := range datastores.CheckValues(m.Parameters(), values) {
		t.Error(problem)
	}
	must(t, m.Stop(t.Context()))
	_, err := m.UpdateOverrides(t.Context(), values)
	must(t, err)
	must(t, m.Start(t.Context()))
	restart, err := m.UpdateOverrides(t.Context(), values)
	must(t, err)
	if restart {
		t.Error("a server that was started with all of its parameters wants a restart for them")
	}
}

func TestValueTheServerRefuses(t *testing.T) {
	m := prepared(t)
	good := datastores.Values{"max_connections": json.Number("90")}
	_, err := m.UpdateOverrides(t.Context(), good)
	must(t, err)
	_, err = m.UpdateOverrides(t.Context(), datastores.Values{"max_connections": json.Number("91"), "sql_mode": "KLINGON"})
	wantKind(t, err, datastores.Invalid)
	if err != nil && !strings.Contains(err.Error(), "KLINGON") {
		t.Errorf("the error does not say what is wrong: %v", err)
	}
	for range 2 { // as it runs, and after a restart
		shown, err := show(t.Context(), m, "max_connections")
		must(t, err)
		if shown != "90" {
			t.Errorf("max_connections is %s after a refused change, want 90", shown)
		}
		must(t, m.Stop(t.Context()))
		must(t, m.Start(t.Context()))
	}
	_, err = m.UpdateOverrides(t.Context(), datastores.Values{"datadir": "/etc"})
	wantKind(t, err, datastores.Invalid)
}

// TestCharacterSetOrCollationAlone: a tenant who sets the character set only gets its default collation, one who sets the collation
// its character set, at once and after a restart, and the guest's when it is taken away.
func TestCharacterSetOrCollationAlone(t *testing.T) {
	m := prepared(t)
	want := func(when, charset, collation string) {
		t.Helper()
		for name, value := range map[string]string{"character_set_server": charset, "collation_server": collation, "collation_connection": "latin1_swedish_ci"} {
			if got, err := show(t.Context(), m, name); err != nil || got != value {
				t.Errorf("%s: %s is %q, %v; want %q", when, name, got, err, value)
			}
		}
	}
	for _, c := range []struct {
		values             datastores.Values
		charset, collation string
	}{
		{datastores.Values{"character_set_server": "latin1", "character_set_connection": "latin1", "collation_connection": "latin1_swedish_ci"}, "latin1", "latin1_swedish_ci"},
		{datastores.Values{"collation_server": "latin2_czech_cs", "character_set_connection": "latin1"}, "latin2", "latin2_czech_cs"},
		{datastores.Values{"character_set_server": "latin1", "collation_server": "latin1_bin", "collation_connection": "latin1_swedish_ci"}, "latin1", "latin1_bin"},
		{datastores.Values{"character_set_connection": "latin1"}, "utf8mb4", "utf8mb4_general_ci"},
	} {
		must(t, m.CheckOverrides(t.Context(), c.values))
		_, err := m.UpdateOverrides(t.Context(), c.values)
		must(t, err)
		want("at once", c.charset, c.collation)
		must(t, m.Stop(t.Context()))
		must(t, m.Start(t.Context()))
		want("after a restart", c.charset, c.collation)
	}
}
