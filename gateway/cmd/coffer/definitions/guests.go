package definitions

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// Guests are guest binaries, each <manager>-guest. A nil one knows none.
type Guests struct {
	Manifests map[string]datastores.Manifest // by manager: what they say of themselves
	programs  map[string]string              // by manager
}

const askTimeout = 10 * time.Second

// AskGuests asks the guest binaries in dir to describe themselves.
func AskGuests(ctx context.Context, dir string) (*Guests, error) {
	programs, err := filepath.Glob(filepath.Join(dir, "*-guest"))
	if err != nil {
		return nil, err
	}
	if len(programs) == 0 {
		return nil, fmt.Errorf("%s holds no guest binary", dir)
	}
	g := &Guests{Manifests: map[string]datastores.Manifest{}, programs: map[string]string{}}
	for _, program := range programs {
		var manifest datastores.Manifest
		if err := ask(ctx, program, nil, &manifest, "describe"); err != nil {
			return nil, fmt.Errorf("%s does not describe itself: %w", program, err)
		}
		g.Manifests[manifest.Manager], g.programs[manifest.Manager] = manifest, program
	}
	return g, nil
}

// problems are what the manager's guest finds wrong with a guest half, each "path: message"; none when the guest is not
// there to be asked.
func (g *Guests) problems(ctx context.Context, manager string, guest json.RawMessage) ([]string, error) {
	if g == nil || g.programs[manager] == "" {
		return nil, nil
	}
	var opinion datastores.Opinion
	if err := ask(ctx, g.programs[manager], guest, &opinion, "check", "-options-only" /* for guests of earlier releases */); err != nil {
		return nil, fmt.Errorf("%s does not judge options: %w", g.programs[manager], err)
	}
	return opinion.Problems, nil
}

// ask runs a guest binary and reads the JSON that it prints.
func ask(ctx context.Context, program string, stdin []byte, answer any, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	path, err := filepath.Abs(program)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.Output()
	if err != nil {
		return err
	}
	return json.Unmarshal(out, answer)
}
