package guest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

// maxDefinitions bounds what check reads, in bytes.
const maxDefinitions = 8 << 20

// check reads guest halves, one JSON value after the other, and prints a [datastores.Verdict] of each.
func (p program) check(ctx context.Context, args []string) error {
	flags := p.flags("check")
	optionsOnly := flags.Bool("options-only", false, "look at the options only, not at this machine")
	root := flags.String("root", "", "`directory` of the system that the server is to run in; empty: this machine's")
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
		if err := out.Encode(judge(ctx, p.plugin, service.System(*root), options, *optionsOnly)); err != nil {
			return err
		}
	}
}

func judge(ctx context.Context, plugin datastores.Plugin, system service.System, options json.RawMessage, optionsOnly bool) datastores.Verdict {
	var v datastores.Verdict
	for _, problem := range plugin.Problems(options) {
		v.Problems = append(v.Problems, problem.Error())
	}
	if len(v.Problems) > 0 || optionsOnly {
		return v
	}
	common, err := plugin.Common(options)
	if err != nil {
		v.Problems = []string{err.Error()}
		return v
	}
	program := plugin.Program(options)
	v.Unable = system.Unservable(ctx, program.Path, program.Version, common.Packages)
	return v
}
