package cassandra

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

const (
	leastMemory = 512      // MB, for the server to start at all
	mostHeap    = 31 << 10 // MB: beyond it pointers are twice as long
	noLimit     = 4 << 10  // MB, where the flavor has none
	smallHeap   = 2 << 10  // MB, up to which the collector with one thread is the better one
)

// checkSize refuses an instance in which no server starts.
func (m *Manager) checkSize() error {
	if m.env.MemoryMB != 0 && m.env.MemoryMB < leastMemory {
		return datastores.Errorf(datastores.Invalid, "the instance has %d MB of memory; cassandra needs %d: choose a larger flavor", m.env.MemoryMB, leastMemory)
	}
	return nil
}

// memory is what the server may take of the flavor's memory, in MB.
type memory struct{ heap, direct, memtables, files int }

func (m *Manager) memory() memory {
	all := m.env.MemoryMB
	if all == 0 {
		all = noLimit
	}
	heap := min(all*m.options.HeapPercent/100, mostHeap)
	return memory{heap: heap, direct: heap / 2, memtables: heap / 4, files: heap / 8}
}

func (s memory) yaml() []setting {
	mib := func(n int) string { return fmt.Sprintf("%dMiB", n) }
	return []setting{{"memtable_heap_space", mib(s.memtables)}, {"memtable_offheap_space", mib(s.memtables)}, {"file_cache_size", mib(s.files)}}
}

// opened are Java's own packages that the server and its tools reach into.
func opened() []string {
	var args []string
	for _, name := range strings.Fields(`java.base/jdk.internal.misc java.base/java.lang.ref java.management/com.sun.jmx.remote.security java.management.rmi/com.sun.jmx.remote.internal.rmi
		java.rmi/sun.rmi.registry java.rmi/sun.rmi.server java.sql/java.sql jdk.unsupported/sun.misc jdk.attach/sun.tools.attach
		jdk.compiler/com.sun.tools.javac.file`) {
		args = append(args, "--add-exports="+name+"=ALL-UNNAMED")
	}
	for _, name := range strings.Fields(`java.base/java.io java.base/java.lang java.base/java.lang.module java.base/java.lang.reflect java.base/java.util
		java.base/jdk.internal.loader java.base/jdk.internal.math java.base/jdk.internal.module java.base/jdk.internal.ref
		java.base/jdk.internal.reflect java.base/jdk.internal.util.jar java.base/sun.nio.ch jdk.compiler/com.sun.tools.javac
		jdk.management/com.sun.management.internal`) {
		args = append(args, "--add-opens="+name+"=ALL-UNNAMED")
	}
	return args
}

// commonArgs are those of the server and of nodetool. They stand in files, one a line: see java(1) on @argfiles.
func (m *Manager) commonArgs() []string {
	classes := []string{filepath.Join(m.options.Home, "*"), filepath.Join(m.options.Home, "lib", "*")}
	return append(append(opened(), m.variant.jvm...),
		"-Djdk.attach.allowAttachSelf=true", "-Dio.netty.tryReflectionSetAccessible=true",
		"-Dfile.encoding=UTF-8",
		"-Djava.io.tmpdir="+m.dataPath(tempFolder), "-Duser.home="+m.dataPath(tempFolder),
		"-XX:-UsePerfData", "-XX:+ExitOnOutOfMemoryError",
		"-Dcassandra.config=file://"+m.dataPath(yamlFile), "-Dcassandra.storagedir="+m.dataPath(folder), "-Dcassandra.logdir="+m.dataPath(folder),
		"-cp", quoted(strings.Join(classes, ":")),
	)
}

// serverArgs starts the server.
func (m *Manager) serverArgs(in *member, closed bool) []string {
	s := m.memory()
	collector := "-XX:+UseG1GC"
	if s.heap <= smallHeap {
		collector = "-XX:+UseSerialGC"
	}
	delay := "0"
	if in.isIn() {
		delay = "1000" // until it has asked others whether there is any account, it tries so often
	}
	if closed {
		delay = "86400000" // of the account that everybody knows: it is made after that many ms, unless there is any
	}
	args := append(m.commonArgs(),
		fmt.Sprintf("-Xms%dm", s.heap), fmt.Sprintf("-Xmx%dm", s.heap), "-Xss256k", fmt.Sprintf("-XX:MaxDirectMemorySize=%dm", s.direct), collector,
		"-javaagent:"+filepath.Join(m.options.Home, "lib", m.variant.jamm),
		"-Dlogback.configurationFile="+m.dataPath(logbackXML), "-Dcassandra-foreground=yes",
		"-Dcassandra.superuser_setup_delay_ms="+delay,
		"-Dcassandra.memtable_row_overhead_computation_step=1000", // how many rows each start makes to weigh one: a hundred times as many take seconds
		fmt.Sprintf("-Dcassandra.jmx.local.port=%d", m.jmxPort()), fmt.Sprintf("-Dcom.sun.management.jmxremote.rmi.port=%d", m.jmxPort()),
		"-Dcom.sun.management.jmxremote.authenticate=true",
		"-Dcom.sun.management.jmxremote.password.file="+m.dataPath(jmxSecret), "-Dcom.sun.management.jmxremote.access.file="+m.dataPath(jmxAccess),
		"-Dcom.sun.management.jmxremote.password.toHashes=false",
	)
	return append(append(append(args, in.ringArgs()...), m.options.JavaOptions...), "org.apache.cassandra.service.CassandraDaemon")
}

// toolArgs starts nodetool; what it is to do follows.
func (m *Manager) toolArgs() []string {
	return append(m.commonArgs(), "-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dlogback.configurationFile="+m.dataPath(toolsXML), "org.apache.cassandra.tools.NodeTool",
		"-h", jmxAddress, "-p", fmt.Sprint(m.jmxPort()), "-u", jmxUser, "-pwf", m.dataPath(jmxSecret))
}

// quoted is an argument of a file of them; a star in it is java's to read.
func quoted(arg string) string { return `"` + arg + `"` }
