package double

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
)

// settings are those of mongod's configuration file that the double knows. Any other is refused, as mongod refuses what it does not know.
var settings = []string{
	"net.bindIp", "net.port", "net.maxIncomingConnections", "net.wireObjectCheck", "net.unixDomainSocket.enabled", "net.unixDomainSocket.pathPrefix",
	"net.unixDomainSocket.filePermissions", "net.tls.mode", "net.tls.certificateKeyFile", "net.tls.CAFile", "net.tls.allowConnectionsWithoutCertificates",
	"net.compression.compressors", "security.authorization", "security.keyFile", "security.javascriptEnabled", "storage.dbPath", "storage.directoryPerDB",
	"storage.syncPeriodSecs", "storage.journal.commitIntervalMs", "storage.wiredTiger.engineConfig.cacheSizeGB",
	"storage.wiredTiger.engineConfig.journalCompressor", "storage.wiredTiger.collectionConfig.blockCompressor", "storage.wiredTiger.indexConfig.prefixCompression",
	"systemLog.verbosity", "systemLog.quiet", "systemLog.traceAllExceptions", "systemLog.timeStampFormat",
	"systemLog.component.accessControl.verbosity", "systemLog.component.command.verbosity", "systemLog.component.control.verbosity",
	"systemLog.component.geo.verbosity", "systemLog.component.index.verbosity", "systemLog.component.network.verbosity",
	"systemLog.component.query.verbosity", "systemLog.component.replication.verbosity", "systemLog.component.sharding.verbosity",
	"systemLog.component.storage.verbosity", "systemLog.component.storage.journal.verbosity", "systemLog.component.write.verbosity",
	"operationProfiling.mode", "operationProfiling.slowOpThresholdMs", "operationProfiling.slowOpSampleRate",
	"replication.replSetName", "replication.oplogSizeMB", "processManagement.fork", "setParameter.diagnosticDataCollectionEnabled",
}

// config is mongod's configuration, by dotted names.
type config map[string]any

// readConfig reads a configuration file of YAML.
func readConfig(path string) (config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var nested map[string]any
	if err := yaml.Unmarshal(b, &nested); err != nil {
		return nil, err
	}
	c := config{}
	c.flatten("", nested)
	for name := range c {
		if !slices.Contains(settings, name) {
			return nil, fmt.Errorf("Unrecognized option: %s", name)
		}
	}
	return c, c.check()
}

func (c config) flatten(prefix string, nested map[string]any) {
	for name, value := range nested {
		if inner, ok := value.(map[string]any); ok {
			c.flatten(prefix+name+".", inner)
		} else {
			c[prefix+name] = value
		}
	}
}

// check refuses values as the documents say.
func (c config) check() error {
	if size, ok := c["storage.wiredTiger.engineConfig.cacheSizeGB"]; ok {
		n, err := strconv.ParseFloat(fmt.Sprint(size), 64)
		if err != nil || n < 0.25 || n > 10000 {
			return fmt.Errorf("storage.wiredTiger.engineConfig.cacheSizeGB must be greater than or equal to 0.25")
		}
	}
	if c.text("security.keyFile") == "" && c.text("replication.replSetName") != "" && c.text("security.authorization") == "enabled" {
		return fmt.Errorf("BadValue: security.keyFile is required when authorization is enabled with replica sets")
	}
	if mode := c.text("net.tls.mode"); mode != "" && mode != "disabled" && c.text("net.tls.certificateKeyFile") == "" {
		return fmt.Errorf("BadValue: need tlsCertificateKeyFile when TLS is enabled")
	}
	return nil
}

func (c config) text(name string) string {
	v, ok := c[name]
	if !ok {
		return ""
	}
	return fmt.Sprint(v)
}

func (c config) number(name string, otherwise int) int {
	n, err := strconv.Atoi(c.text(name))
	if err != nil {
		return otherwise
	}
	return n
}

// nested is the configuration as getCmdLineOpts tells it, under parsed.
func (c config) nested() map[string]any {
	all := map[string]any{}
	for name, value := range c {
		put(all, name, value)
	}
	return all
}

func put(all map[string]any, name string, value any) {
	first, rest, nested := strings.Cut(name, ".")
	if !nested {
		all[first] = value
		return
	}
	inner, ok := all[first].(map[string]any)
	if !ok {
		inner = map[string]any{}
		all[first] = inner
	}
	put(inner, rest, value)
}
