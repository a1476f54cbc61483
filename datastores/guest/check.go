package guest

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/cofferdb/coffer/datastores"
)

// maxDefinitions bounds what check reads, in bytes.
const maxDefinitions = 8 << 20

// check reads guest halves, one JSON value after the other, and prints a [datastores.Opinion] of each. It looks at nothing else, so
// that a host can have it done by nobody.
func (p program) check(args []string) error {
	flags := p.flags("check")
	flags.Bool("options-only", true, "it is always so: earlier releases took it")
	if err := p.parse(flags, args); err != nil {
		return err
	}
	in, out := json.NewDecoder(io.LimitReader(p.stdin, maxDefinitions)), json.NewEncoder(p.stdout)
	for {
		var options json.RawMessage
		if err := in.Decode(&options); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("cannot read the guest half of a definition: %w", err)
		}
		if err := out.Encode(opinion(p.plugin, options)); err != nil {
			return err
		}
	}
}

func opinion(plugin datastores.Plugin, options json.RawMessage) datastores.Opinion {
	var o datastores.Opinion
	for _, problem := range plugin.Problems(options) {
		o.Problems = append(o.Problems, problem.Error())
	}
	if len(o.Problems) > 0 {
		return o
	}
	common, err := plugin.Common(options)
	if err != nil {
		return datastores.Opinion{Problems: []string{err.Error()}}
	}
	return datastores.Opinion{Program: plugin.Program(options), Packages: common.Packages}
}
