package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/datastores/volume"
)

const guestStopTimeout = 10 * time.Second

// newGuest is the guest process of the instance in dir.
func newGuest(dir, binary string) *service.Service {
	return &service.Service{
		Name: "guest", Dir: dir,
		Argv:        []string{binary, "run", "-config", filepath.Join(dir, configFile)},
		LogDir:      volume.At(dir),
		LogFile:     logFile,
		StopTimeout: guestStopTimeout,
	}
}

// configure writes a guest's configuration file in dir, for owner alone (-1: the host's user), and reports whether that changed it. An empty token
// leaves the one that is there.
func configure(dir string, cfg datastores.GuestConfig, token string, owner int) (changed bool, err error) {
	path := filepath.Join(dir, configFile)
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if token == "" && err == nil {
		var was datastores.GuestConfig
		if err := json.Unmarshal(old, &was); err != nil {
			return false, fmt.Errorf("cannot read %s: %w", path, err)
		}
		token = was.Token.Reveal()
	}
	cfg.Token = datastores.NewSecret(token).ForSealing()
	if t, err := agentpoll.ParseToken(token); err == nil && cfg.CA == "" {
		cfg.CA = strings.Join(t.CAs, ",") // for a guest that does not know that its token says it
	}
	b, err := json.MarshalIndent(cfg, "", "  ")
	if err != nil {
		return false, err
	}
	if slices.Equal(b, old) {
		return false, nil
	}
	return true, volume.Dir{Path: dir, UID: owner, GID: owner}.WriteFile(configFile, b)
}

// startGuest starts the guest, unless it runs, and remembers from which file before it does.
func (i *instance) startGuest(ctx context.Context) error {
	now, err := stampOf(i.guest.Argv[0])
	if err != nil {
		return err
	}
	if !i.running() {
		if err := i.remember(now); err != nil {
			return err
		}
	}
	return i.guest.Start(ctx)
}

// remember records from which file the guest is started.
func (i *instance) remember(binary stamp) error {
	if binary.equal(i.rec.Binary) {
		return nil
	}
	i.rec.Binary = binary
	return i.save()
}

func (i *instance) running() bool {
	_, _, ok := i.guest.Running()
	return ok
}

const maxLog = 8 << 20

// boundLog keeps a guest's log from growing without end: a full one is copied to guest.log.1 and emptied. It cannot be
// renamed, since the guest, which appends, would go on writing to the renamed one.
func boundLog(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() <= maxLog {
		return nil
	}
	if err != nil {
		return err
	}
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	to, err := os.OpenFile(path+".1", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close(), os.Truncate(path, 0))
}
