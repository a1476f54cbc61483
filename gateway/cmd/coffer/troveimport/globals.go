package troveimport

import (
	"regexp"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/troveconf"
)

// globalRules are those for [DEFAULT]. What is carried over goes into the definition of every datastore; its group may
// say otherwise. Options are matched as whole patterns, the first one counts.
func globalRules() []rule {
	quota := func(option, flag, standard string) rule {
		return rule{
			option: option, harmless: oneOf(standard), why: "quotas are kept by project; without one it is Trove's " + standard,
			instead: "coffer quota set PROJECT --" + flag,
		}
	}
	own := "Coffer has its own way of doing it, with its own limits"
	blobs := "gateways keep backups, in their own format"
	return []rule{
		{option: "usage_timeout", carry: integer(func(d *draft) *int { return &d.server.UsageTimeout })},
		{option: "max_accepted_volume_size", carry: integer(func(d *draft) *int { return &d.server.MaxVolumeSize })},

		quota("max_instances_per_tenant", "instances", "10"),
		quota("max_ram_per_tenant", "ram", "-1"),
		quota("max_volumes_per_tenant", "volumes", "40"),
		quota("max_backups_per_tenant", "backups", "50"),
		{option: "default_datastore", why: "the default is said of the datastore itself", instead: "put default: true into /server/datastores/NAME"},
		{option: "backup_swift_container|storage_strategy|storage_namespace|swift_.*", why: blobs, instead: "give coffer-gateway -backup-dir or -s3-endpoint"},
		{option: "backup_.*|verify_swift_checksum_on_restore", harmless: anything, why: blobs + "; always compressed, encrypted and checked"},
		{option: "verify_replica_volume_size", harmless: boolIs(true), why: "a replica's volume is never smaller than its source's", instead: "give replicas volumes as large"},
		{option: "guest_log_.*", harmless: anything, why: "gateways keep published logs, in their own way"},
		{option: "volume_fstype|format_options|mount_options|block_device_mapping|device_path|volume_rootdisk_.*", harmless: anything, why: "hosts make volumes"},
		{option: "online_volume_resize", harmless: anything, why: "hosts grow volumes, online where they can"},
		{option: "agent_.*|report_interval|.*_page_size|http_.*_rate|.*_time_?out|.*_sleep_time|.*_poll_time|.*_wait_time|module_.*", harmless: anything, why: own},
		{option: "admin_roles", harmless: oneOf("admin"), why: "an admin has the role admin", instead: "give admins that role"},
		{option: "datastore_manager|datastore_version|guest_id|tenant_id|guest_.*|host|root_grant.*", harmless: anything, why: "a guest is told who it is when it enrols, and its definition names its manager"},
		{option: "default_password_length", harmless: atMost(36), why: "passwords that the gateway makes have 36 characters", instead: "choose longer ones yourself"},
		{option: "ignore_users|ignore_dbs", why: "reserved names belong to a datastore's group", instead: "write it there and import again"},
		{option: plumbing(), harmless: anything, why: "Coffer has no broker, no task manager and no calls to other services"},
	}
}

// plumbing is what connects Trove's own services with each other, and with those around them.
func plumbing() string {
	return strings.Join([]string{
		"bind_host|bind_port|backlog|wsgi_.*|tcp_keepidle|max_header_line|client_socket_timeout|.*_workers|api_paste_config",
		"transport_url|rpc_.*|rabbit_.*|control_exchange|notification_.*|.*_topic|.*_queue|executor_thread_pool_size|enable_secure_rpc_messaging|.*_rpc_encr_key",
		"debug|verbose|log_.*|logging_.*|use_(?:syslog|stderr|journal|json|eventlog)|syslog_.*|watch_log_file|default_log_levels|publish_errors|fatal_.*",
		"auth_.*|.*_url|.*_endpoint_type|.*_service_type|os_region_name|remote_.*_client|nova_.*|cinder_.*|neutron_.*|glance_.*|heat_.*|trove_.*|use_nova_.*|network_.*|management_.*|dns_.*|hostname_.*",
		"taskmanager_.*|conductor_.*|sql_.*|db_.*|update_status_on_fail|quota_driver|pybasedir|state_path|lock_path|template_path|cloudinit_.*|injected_config_location|guest_config|config_.*",
	}, "|")
}

// strangers are groups of the services around Trove.
var strangers = regexp.MustCompile(`^(?:database|keystone_authtoken|service_credentials|guest_agent|network|cors|healthcheck|` +
	`oslo_.*|profiler|upgrade_levels|cache|ssl|matchmaker_.*|wsgi|osprofiler|audit_.*|api_database|keystone_.*|swift|nova|cinder|neutron|glance)$`)

// globals follows the rules for [DEFAULT], before any group may say otherwise.
func (im *importing) globals(targets []*target) {
	rules := globalRules()
	patterns := make([]*regexp.Regexp, len(rules))
	for i, r := range rules {
		patterns[i] = regexp.MustCompile("^(?:" + r.option + ")$")
	}
	for i, e := range im.Conf.Entries {
		if e.Group != troveconf.DefaultGroup || im.did[i] {
			continue
		}
		i = im.entry(e.Group, e.Name)
		at := slices.IndexFunc(patterns, func(p *regexp.Regexp) bool { return p.MatchString(e.Name) })
		switch {
		case at < 0:
			im.drop(i, verdict{lost: true, why: "Coffer has no such option", instead: "look whether something in its documentation does that job"})
		case rules[at].carry != nil && len(targets) == 0:
			im.drop(i, verdict{lost: true, why: "there is no datastore here whose definition could take it", instead: "import it together with their groups"})
		default:
			im.rule(i, rules[at], targets)
		}
	}
}

// others tells of groups that are no datastore's.
func (im *importing) others() {
	for i, e := range im.Conf.Entries {
		switch {
		case im.did[i]:
		case strangers.MatchString(strings.ToLower(e.Group)):
			im.drop(i, verdict{why: "[" + e.Group + "] is of a service that Coffer does not need"})
		default:
			im.drop(i, verdict{lost: true, why: "[" + e.Group + "] is no datastore's group", instead: "when it is one, name its manager in " + registry})
		}
	}
}
