package definitions

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// Guests knows by manager what guests say of themselves.
type Guests map[string]datastores.Manifest

const describeTimeout = 10 * time.Second

// AskGuests asks the guest binaries in dir, each <manager>-guest, to describe themselves.
func AskGuests(ctx context.Context, dir string) (Guests, error) {
	programs, err := filepath.Glob(filepath.Join(dir, "*-guest"))
	if err != nil {
		return nil, err
	}
	if len(programs) == 0 {
		return nil, fmt.Errorf("%s holds no guest binary", dir)
	}
	guests := Guests{}
	for _, program := range programs {
		manifest, err := describe(ctx, program)
		if err != nil {
			return nil, fmt.Errorf("%s does not describe itself: %w", program, err)
		}
		guests[manifest.Manager] = manifest
	}
	return guests, nil
}

func describe(ctx context.Context, program string) (datastores.Manifest, error) {
	var manifest datastores.Manifest
	ctx, cancel := context.WithTimeout(ctx, describeTimeout)
	defer cancel()
	path, err := filepath.Abs(program)
	if err != nil {
		return manifest, err
	}
	out, err := exec.CommandContext(ctx, path, "describe").Output()
	if err != nil {
		return manifest, err
	}
	return manifest, json.Unmarshal(out, &manifest)
}
