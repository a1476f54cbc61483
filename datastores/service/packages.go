package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	policyFile = "/usr/sbin/policy-rc.d"
	turnFile   = "/run/coffer-packages.lock"
)

// policy makes Debian's packages start no service (see invoke-rc.d(8)). Its comment marks the file as ours: one left
// behind by a host that was killed is removed by the next.
const policy = `#!/bin/sh
# Written by Coffer while it installs packages, and removed afterwards.
exit 101
`

// System is a Debian system whose packages are looked at: this machine's, "", or a tree of files below an absolute path.
type System string

// Install installs those of the Debian packages that are missing, without starting any service, and tells begin which before it
// does. Installations of one machine take turns. A caller that is not root gets an error that says what is missing and how to install it.
func (s System) Install(ctx context.Context, names []string, begin func(missing []string)) error {
	missing, err := s.Missing(ctx, names)
	if err != nil || len(missing) == 0 {
		return err
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("packages are missing, and only root may install them: %s", s.advice(missing))
	}
	done, err := takeTurn(ctx)
	if err != nil {
		return fmt.Errorf("cannot install packages: %w", err)
	}
	defer done()
	if missing, err = s.Missing(ctx, names); err != nil || len(missing) == 0 {
		return err // another has done it
	}
	release, err := holdServices(s.path(policyFile))
	if err != nil {
		return fmt.Errorf("cannot install packages: %w", err)
	}
	defer release()
	begin(missing)
	if err := s.install(ctx, missing); err != nil {
		return fmt.Errorf("cannot install packages %s: %w", strings.Join(missing, " "), err)
	}
	return nil
}

// Demand returns an error that names the packages that are missing, and says how to install them.
func (s System) Demand(ctx context.Context, names []string) error {
	missing, err := s.Missing(ctx, names)
	if err != nil || len(missing) == 0 {
		return err
	}
	return fmt.Errorf("packages are missing: %s", s.advice(missing))
}

func (s System) advice(missing []string) string {
	argv := s.argv(append([]string{"apt-get", "install", "--no-install-recommends"}, missing...)...)
	return "run `" + strings.Join(argv, " ") + "`"
}

// path is where a file of the system is.
func (s System) path(name string) string { return filepath.Join("/", string(s), name) }

// argv runs a program of the system.
func (s System) argv(argv ...string) []string {
	if s == "" {
		return argv
	}
	return append([]string{"chroot", string(s)}, argv...)
}

// install tries once as things are, and once more after what usually helps: new package lists, and the end of an
// installation that was cut off.
func (s System) install(ctx context.Context, names []string) error {
	argv := append([]string{"apt-get", "-y", "-o", "DPkg::Lock::Timeout=120", "install", "--no-install-recommends", "--"}, names...)
	if s.apt(ctx, argv...) == nil {
		return nil
	}
	updateErr := s.apt(ctx, "apt-get", "-o", "DPkg::Lock::Timeout=120", "update")
	configureErr := s.apt(ctx, "dpkg", "--configure", "-a")
	if err := s.apt(ctx, argv...); err != nil {
		return errors.Join(err, updateErr, configureErr)
	}
	return nil
}

func (s System) apt(ctx context.Context, argv ...string) error {
	_, err := Run(ctx, s.argv(argv...), RunOptions{Env: append(plainEnv(), "DEBIAN_FRONTEND=noninteractive")})
	return err
}

// takeTurn waits until nobody else on this machine installs packages.
func takeTurn(ctx context.Context) (done func(), err error) {
	f, err := os.OpenFile(turnFile, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) || !Pause(ctx, 100*time.Millisecond) {
			return nil, errors.Join(fmt.Errorf("%s: %w", turnFile, err), ctx.Err(), f.Close())
		}
	}
}

// holdServices keeps packages from starting services. A policy that an operator has made is left alone.
func holdServices(file string) (release func(), err error) {
	have, err := os.ReadFile(file)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if err := os.WriteFile(file, []byte(policy), 0o700); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	case string(have) != policy:
		return func() {}, nil
	}
	return func() { _ = os.Remove(file) }, nil
}
