package cassandra

import "slices"

// variant is a version that the manager knows, and what is different about it.
type variant struct {
	version string // as option "version" has it
	jamm    string // the agent that measures memory, below lib
	jvm     []string
	yaml    []setting
}

// variants are all of them, the oldest first: each takes over the data of those before it.
func variants() []variant {
	return []variant{
		{version: "4.1", jamm: "jamm-0.3.2.jar", jvm: []string{
			// Java 17, which Debian has, is newer than what this version was made for.
			"-Djava.security.manager=allow",
			"--add-opens=java.base/java.nio=ALL-UNNAMED", "--add-opens=java.base/java.net=ALL-UNNAMED",
			"--add-opens=java.base/java.util.concurrent=ALL-UNNAMED", "--add-opens=java.base/java.util.concurrent.atomic=ALL-UNNAMED",
		}},
		// A single server has no older neighbours: it writes its own formats at once.
		{version: "5.0", jamm: "jamm-0.4.0.jar", yaml: []setting{{"storage_compatibility_mode", "NONE"}}},
	}
}

func findVariant(version string) (variant, bool) {
	all := variants()
	i := slices.IndexFunc(all, func(v variant) bool { return v.version == version })
	if i < 0 {
		return variant{}, false
	}
	return all[i], true
}

func versions() []string {
	var names []string
	for _, v := range variants() {
		names = append(names, v.version)
	}
	return names
}
