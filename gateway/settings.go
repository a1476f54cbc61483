package gateway

import (
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
)

// Settle fills the flags that the command line left out: from the environment (`-etcd-endpoints` is
// COFFER_ETCD_ENDPOINTS), then from a YAML file of flag names and values. An unknown name in the file is an error.
func Settle(flags *flag.FlagSet, file string) error {
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	var err error
	set := func(name, value, source string) {
		if err == nil && !given[name] {
			if e := flags.Set(name, value); e != nil {
				err = fmt.Errorf("%s: %s: %w", source, name, e)
			}
			given[name] = true
		}
	}
	flags.VisitAll(func(f *flag.Flag) {
		env := "COFFER_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if value, ok := os.LookupEnv(env); ok {
			set(f.Name, value, env)
		}
	})
	if file == "" || err != nil {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("cannot read the settings: %w", err)
	}
	var values map[string]any
	if err := yaml.Unmarshal(text, &values); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for name, value := range values {
		if flags.Lookup(name) == nil {
			return fmt.Errorf("%s: there is no setting %q; -help lists them", file, name)
		}
		set(name, fmt.Sprint(value), file)
	}
	return err
}
