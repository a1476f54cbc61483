package etcdschema

import "strings"

// IsDefinition reports whether key is the guest half of a datastore version's definition.
func IsDefinition(key string) bool { return strings.HasPrefix(key, guestDatastoresPrefix) }

// cut is the opposite of join: it returns the variable parts of a key, and false when the key is not of that pattern or
// a part is no name. Ids and hashes are names, too; what they stand for is found, or not, by whoever looks it up.
func cut(pattern, key string) ([]string, bool) {
	if fixed, _, _ := strings.Cut(pattern, "*"); !strings.HasPrefix(key, fixed) {
		return nil, false // most keys that a watch tells are of another sort
	}
	var parts []string
	want, have := strings.Split(pattern, "/"), strings.Split(key, "/")
	if len(want) != len(have) {
		return nil, false
	}
	for i, w := range want {
		switch {
		case w == "*" && aName("", have[i]).check(have[i]) == "":
			parts = append(parts, have[i])
		case w != have[i]:
			return nil, false
		}
	}
	return parts, true
}

func cutOne(pattern, key string, valid func(string) bool) (string, bool) {
	parts, ok := cut(pattern, key)
	if !ok || !valid(parts[0]) {
		return "", false
	}
	return parts[0], true
}

// The parsers below are for keys that a watch tells. They return false for a key of another sort.

// ParseCommandKey reads what [CommandKey] built.
func ParseCommandKey(key string) (agent, command string, ok bool) {
	parts, ok := cut(commandPattern, key)
	if !ok || !ValidID(parts[0]) || !ValidID(parts[1]) {
		return "", "", false
	}
	return parts[0], parts[1], true
}

// ParseResultKey reads what [ResultKey] built.
func ParseResultKey(key string) (command string, ok bool) {
	return cutOne(resultPattern, key, ValidID)
}

// ParseAgentKey reads what [AgentKey] built.
func ParseAgentKey(key string) (agent string, ok bool) { return cutOne(agentPattern, key, ValidID) }

// ParsePresenceKey reads what [PresenceKey] built.
func ParsePresenceKey(key string) (agent string, ok bool) {
	return cutOne(presencePattern, key, ValidID)
}

// ParseGatewayPollsKey reads what [GatewayPollsKey] built.
func ParseGatewayPollsKey(key string) (gateway string, ok bool) {
	return cutOne(pollsPattern, key, ValidID)
}

// ParseHostKey reads what [HostKey] built.
func ParseHostKey(key string) (host string, ok bool) { return cutOne(hostPattern, key, ValidID) }

// ParseInstanceKey reads what [InstanceKey] built.
func ParseInstanceKey(key string) (project, instance string, ok bool) {
	parts, ok := cut(instancePattern, key)
	if !ok || !ValidID(parts[1]) {
		return "", "", false
	}
	return parts[0], parts[1], true
}
