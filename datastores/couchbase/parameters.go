package couchbase

import (
	"encoding/json"
	"slices"
	"strconv"

	"github.com/cofferdb/coffer/datastores"
)

// parameter is a setting of the cluster. In the server's words it is key when it is set, and path, with dots, when it is read.
type parameter struct {
	datastores.Parameter
	value any // when nothing is set
	key   string
	path  string
}

// group is an endpoint with its settings, which are set together.
type group struct {
	write, read string
	parameters  []parameter
}

const (
	memoryQuota      = "memoryQuota"
	indexMemoryQuota = "indexMemoryQuota"
)

// groups are all settings that tenants may make. What a person of the server's may set beside them takes the server from its guest, or means nothing to a
// tenant: accounts, certificates, audit, the addresses of others.
func (m *Manager) groups() []group {
	memory := group{"/pools/default", "/pools/default", nil}
	for _, name := range []string{memoryQuota, indexMemoryQuota} {
		if mb, ok := m.quotas()[name]; ok {
			memory.parameters = append(memory.parameters, number(name, name, name, mb, leastQuota, "1048576"))
		}
	}
	failover := group{"/settings/autoFailover", "/settings/autoFailover", []parameter{
		flag("autoFailover.enabled", "enabled", "enabled", true),
		number("autoFailover.timeout", "timeout", "timeout", 30, 5, "3600"), // the server's 120 are long for whoever waits for a database
		number("autoFailover.maxCount", "maxCount", "maxCount", 1, 1, "100"),
	}}
	const compact = "autoCompactionSettings."
	compaction := group{"/controller/setAutoCompaction", "/settings/autoCompaction", []parameter{
		flag("autoCompaction.parallelDBAndViewCompaction", "parallelDBAndViewCompaction", compact+"parallelDBAndViewCompaction", false),
		number("autoCompaction.databaseFragmentationThreshold", "databaseFragmentationThreshold[percentage]", compact+"databaseFragmentationThreshold.percentage", 30, 2, "100"),
		number("autoCompaction.viewFragmentationThreshold", "viewFragmentationThreshold[percentage]", compact+"viewFragmentationThreshold.percentage", 30, 2, "100"),
		{datastores.Parameter{Name: "autoCompaction.purgeInterval", Type: datastores.FloatParameter, Min: "0.04", Max: "60"}, json.Number("3"), "purgeInterval", "purgeInterval"},
	}}
	rebalance := group{"/settings/rebalance", "/settings/rebalance", []parameter{
		number("rebalance.rebalanceMovesPerNode", "rebalanceMovesPerNode", "rebalanceMovesPerNode", 4, 1, "64"),
	}}
	retry := group{"/settings/retryRebalance", "/settings/retryRebalance", []parameter{
		flag("retryRebalance.enabled", "enabled", "enabled", false),
		number("retryRebalance.afterTimePeriod", "afterTimePeriod", "afterTimePeriod", 300, 5, "3600"),
		number("retryRebalance.maxAttempts", "maxAttempts", "maxAttempts", 1, 1, "3"),
	}}
	threads := group{"/pools/default/settings/memcached/global", "/pools/default/settings/memcached/global", nil}
	for _, name := range []string{"num_reader_threads", "num_writer_threads", "num_nonio_threads", "num_auxio_threads"} {
		threads.parameters = append(threads.parameters, parameter{
			datastores.Parameter{Name: "memcached." + name, Type: datastores.StringParameter, Pattern: `default|[1-9]|[1-5][0-9]|6[0-4]`}, "default", name, name,
		})
	}
	return []group{memory, failover, compaction, rebalance, retry, threads}
}

func (m *Manager) table() (all []parameter) {
	for _, g := range m.groups() {
		all = append(all, g.parameters...)
	}
	return all
}

// Parameters implements [datastores.Configuration]. The server takes each of them while it runs.
func (m *Manager) Parameters() (list []datastores.Parameter) {
	for _, p := range m.table() {
		list = append(list, p.Parameter)
	}
	return list
}

func number(name, key, path string, value, least int, most json.Number) parameter {
	p := datastores.Parameter{Name: name, Type: datastores.IntegerParameter, Min: json.Number(strconv.Itoa(least)), Max: most}
	return parameter{p, json.Number(strconv.Itoa(value)), key, path}
}

func flag(name, key, path string, value bool) parameter {
	return parameter{datastores.Parameter{Name: name, Type: datastores.BooleanParameter}, value, key, path}
}

// The memory of services, in MB and percent: a server gives them no more than this share of what there is, or all but a GB.
const (
	leastQuota  = 256
	mostPercent = 80
	unlimited   = 2048 // what a server without a limit is taken to have
)

// quotas are the memory of each service that has one, by parameter.
func (m *Manager) quotas() map[string]int {
	memory := m.env.MemoryMB
	if memory == 0 {
		memory = unlimited
	}
	all := map[string]int{memoryQuota: max(memory*m.options.DataPercent/100, leastQuota)}
	if slices.Contains(m.options.Services, indexService) {
		all[indexMemoryQuota] = max(memory*m.options.IndexPercent/100, leastQuota)
	}
	return all
}

// mostMemory is what all services may have together.
func (m *Manager) mostMemory() int {
	if m.env.MemoryMB == 0 {
		return 1 << 20
	}
	return max(m.env.MemoryMB*mostPercent/100, m.env.MemoryMB-1024)
}

// checkMemory returns Invalid for a flavor that is too small for the services.
func (m *Manager) checkMemory() error {
	sum := 0
	for _, mb := range m.quotas() {
		sum += mb
	}
	if most := m.mostMemory(); sum > most {
		return datastores.Errorf(datastores.Invalid, "Couchbase's services take %d MB, and a server of %d MB gives them %d: take a larger flavor, or a version with fewer services", sum, m.env.MemoryMB, most)
	}
	return nil
}
