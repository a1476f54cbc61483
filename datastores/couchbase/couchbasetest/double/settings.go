package double

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// settingsTable are the settings of one endpoint.
type settingsTable struct {
	read       string // where they are read
	parameters []setting
}

// setting is one parameter. A number has limits; without any it is true or false.
type setting struct {
	name, normal string
	min, max     float64
	words        []string // that it takes beside numbers
	required     bool
}

const (
	passwordPolicy = "/settings/passwordPolicy"
	autoFailover   = "/settings/autoFailover"
	autoCompaction = "/controller/setAutoCompaction"
	memcached      = "/pools/default/settings/memcached/global"
)

// settingsTables are those of the endpoints at which settings are made.
func settingsTables() map[string]settingsTable {
	policy := settingsTable{passwordPolicy, []setting{{name: "minLength", normal: "6", max: 100}}}
	for _, name := range []string{"enforceUppercase", "enforceLowercase", "enforceDigits", "enforceSpecialChars"} {
		policy.parameters = append(policy.parameters, setting{name: name, normal: "false"})
	}
	threads := settingsTable{memcached, nil}
	for _, name := range []string{"num_reader_threads", "num_writer_threads", "num_nonio_threads", "num_auxio_threads"} {
		threads.parameters = append(threads.parameters, setting{name: name, normal: "default", min: 1, max: 64, words: []string{"default"}})
	}
	return map[string]settingsTable{
		passwordPolicy: policy,
		memcached:      threads,
		autoFailover: {autoFailover, []setting{
			{name: "enabled", normal: "true", required: true}, {name: "timeout", normal: "120", min: 1, max: 3600}, {name: "maxCount", normal: "1", min: 1, max: 100},
			{name: "failoverPreserveDurabilityMajority", normal: "false"},
		}},
		autoCompaction: {"/settings/autoCompaction", []setting{
			{name: "parallelDBAndViewCompaction", normal: "false", required: true},
			{name: "databaseFragmentationThreshold[percentage]", normal: "30", min: 2, max: 100},
			{name: "viewFragmentationThreshold[percentage]", normal: "30", min: 2, max: 100},
			{name: "purgeInterval", normal: "3", min: 0.04, max: 60},
		}},
		"/settings/rebalance": {"/settings/rebalance", []setting{{name: "rebalanceMovesPerNode", normal: "4", min: 1, max: 64}}},
		"/settings/retryRebalance": {"/settings/retryRebalance", []setting{
			{name: "enabled", normal: "false"}, {name: "afterTimePeriod", normal: "300", min: 5, max: 3600}, {name: "maxAttempts", normal: "1", min: 1, max: 3},
		}},
	}
}

// value is what a parameter has, as JSON has it.
func (p setting) value(values map[string]string) any {
	text, set := values[p.name]
	if !set {
		text = p.normal
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil {
		return f
	}
	if b, err := strconv.ParseBool(text); err == nil {
		return b
	}
	return text
}

func (p setting) check(text string) string {
	switch f, err := strconv.ParseFloat(text, 64); {
	case slices.Contains(p.words, text):
	case p.max == 0 && text != "true" && text != "false":
		return "The value must be one of the following: [true,false]"
	case p.max > 0 && (err != nil || f < p.min || f > p.max):
		return "The value must be in range from " + strconv.FormatFloat(p.min, 'f', -1, 64) + " to " + strconv.FormatFloat(p.max, 'f', -1, 64)
	}
	return ""
}

func (n *node) getSettings(path string, _ *http.Request) answer {
	s := n.now()
	all := map[string]any{}
	for _, p := range settingsTables()[path].parameters {
		v := p.value(s.Settings[path])
		if outer, inner, ok := strings.Cut(p.name, "["); ok {
			all[outer] = map[string]any{strings.TrimSuffix(inner, "]"): v, "size": "undefined"}
		} else {
			all[p.name] = v
		}
	}
	switch path {
	case autoFailover:
		all["count"] = s.Failures
	case autoCompaction:
		purge := all["purgeInterval"]
		delete(all, "purgeInterval")
		return okay(map[string]any{"autoCompactionSettings": all, "purgeInterval": purge})
	}
	return okay(all)
}

func (n *node) setSettings(path string, r *http.Request) answer {
	table := settingsTables()[path]
	var names []string
	for _, p := range table.parameters {
		names = append(names, p.name)
		text := r.PostForm.Get(p.name)
		if text == "" {
			if p.required {
				return refused(p.name, "The value must be supplied")
			}
			continue
		}
		if problem := p.check(text); problem != "" {
			return refused(p.name, "%s", problem)
		}
	}
	if problem := unknown(r, names...); problem != "" {
		return refused(problem, "Unsupported key")
	}
	if path == autoFailover && r.PostForm.Get("enabled") == "true" && r.PostForm.Get("timeout") == "" {
		return refused("timeout", "The value must be supplied")
	}
	a := n.change(r.Context(), okay(nil), func(s *state) answer {
		if s.Settings[path] == nil {
			s.Settings[path] = map[string]string{}
		}
		for name := range r.PostForm {
			s.Settings[path][name] = r.PostForm.Get(name)
		}
		return answer{}
	})
	if a.status == http.StatusOK && path != autoFailover && path != autoCompaction {
		return n.getSettings(path, r)
	}
	return a
}
