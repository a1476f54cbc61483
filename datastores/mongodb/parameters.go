package mongodb

import (
	"encoding/json"
	"strconv"

	"github.com/cofferdb/coffer/datastores"
)

const (
	cacheSize = "storage.wiredTiger.engineConfig.cacheSizeGB"
	// leastCache is what mongod takes at least, in GB.
	leastCache = 0.25
	// mostCache is how much of the memory may be the cache, in percent.
	mostCache = 80
)

// parameter is one that tenants may set, by its name in mongod's configuration file.
type parameter struct {
	datastores.Parameter
	value any // what the server has without it
}

// table is what tenants may set: of Trove's list, which is MongoDB 3's, what 7.0 and 8.0 know. What is not in it is the guest's: addresses, paths,
// authorization, the set, where logs go; or is gone: MMAPv1, HTTP, SNMP.
func table() []parameter {
	all := []parameter{
		number("net.maxIncomingConnections", 65536, "64", "1000000"),
		flag("net.wireObjectCheck", true),
		flag("security.javascriptEnabled", true),
		number("operationProfiling.slowOpThresholdMs", 100, "0", "2147483647"),
		{datastores.Parameter{Name: "operationProfiling.slowOpSampleRate", Type: datastores.FloatParameter, Min: "0", Max: "1"}, json.Number("1")},
		choice("operationProfiling.mode", "off", "off", "slowOp", "all"),
		number("storage.syncPeriodSecs", 60, "1", "3600"), // 0 would keep checkpoints from being made, and the journal growing
		number("storage.journal.commitIntervalMs", 100, "1", "500"),
		createOnly(flag("storage.directoryPerDB", false)),
		{datastores.Parameter{Name: cacheSize, Type: datastores.FloatParameter, Min: "0.25", Max: "10000"}, nil},
		choice("storage.wiredTiger.engineConfig.journalCompressor", "snappy", "none", "snappy", "zlib", "zstd"),
		choice("storage.wiredTiger.collectionConfig.blockCompressor", "snappy", "none", "snappy", "zlib", "zstd"),
		flag("storage.wiredTiger.indexConfig.prefixCompression", true),
		flag("systemLog.quiet", false),
		flag("systemLog.traceAllExceptions", false),
		choice("systemLog.timeStampFormat", "iso8601-local", "iso8601-utc", "iso8601-local"),
		number("systemLog.verbosity", 0, "0", "5"),
	}
	for _, component := range []string{
		"accessControl", "command", "control", "geo", "index", "network", "query", "replication", "sharding", "storage", "storage.journal", "write",
	} {
		all = append(all, number("systemLog.component."+component+".verbosity", -1, "-1", "5")) // -1: as the component above it
	}
	return all
}

// Parameters implements [datastores.Configuration]. mongod reads its file when it starts.
func (m *Manager) Parameters() (list []datastores.Parameter) {
	for _, p := range table() {
		p.RestartRequired = true
		list = append(list, p.Parameter)
	}
	return list
}

func number(name string, value int, least, most json.Number) parameter {
	return parameter{datastores.Parameter{Name: name, Type: datastores.IntegerParameter, Min: least, Max: most}, json.Number(strconv.Itoa(value))}
}

func flag(name string, value bool) parameter {
	return parameter{datastores.Parameter{Name: name, Type: datastores.BooleanParameter}, value}
}

func choice(name, value string, values ...string) parameter {
	return parameter{datastores.Parameter{Name: name, Type: datastores.StringParameter, Values: values}, value}
}

func createOnly(p parameter) parameter { p.CreateOnly = true; return p }
