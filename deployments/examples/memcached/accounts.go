package memcached

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/volume"
)

const (
	adminUser = "os_admin" // the guest's own
	rootUser  = "root"

	reloadTimeout = 10 * time.Second // memcached looks at its accounts once a second
)

// passwordPattern is what memcached can tell apart: it takes words, and the line of an account is bounded.
var passwordPattern = regexp.MustCompile(`^[!-~]{1,128}$`)

// The passwords lie in the guest's directory, of which the server is only given the file made of them.
func passwordFile(user string) string { return user + ".password" }

func (m *Manager) password(user string) (string, error) {
	b, err := volume.Own(m.env).ReadFile(passwordFile(user), 1<<10)
	return string(b), err
}

func (m *Manager) makeAdmin() error {
	_, err := m.password(adminUser)
	if errors.Is(err, fs.ErrNotExist) {
		err = volume.Own(m.env).WriteFile(passwordFile(adminUser), []byte(rand.Text()))
	}
	return err
}

func (m *Manager) writeAccounts() error {
	var text strings.Builder
	for _, user := range []string{adminUser, rootUser} {
		password, err := m.password(user)
		if errors.Is(err, fs.ErrNotExist) && user == rootUser {
			continue
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "%s:%s\n", user, password)
	}
	return volume.Data(m.env).WriteFile(accountsFile, []byte(text.String()))
}

// EnableRoot implements [datastores.Root].
func (m *Manager) EnableRoot(ctx context.Context, password datastores.Secret) (string, error) {
	if !passwordPattern.MatchString(password.Reveal()) {
		return "", datastores.Errorf(datastores.Invalid, "memcached takes passwords of 1 to 128 ASCII characters without spaces")
	}
	if err := volume.Own(m.env).WriteFile(passwordFile(rootUser), []byte(password.Reveal())); err != nil {
		return "", err
	}
	return rootUser, m.reload(ctx, func(ctx context.Context) error {
		return login(ctx, m.env.Address, rootUser, password.Reveal())
	})
}

// RootEnabled implements [datastores.Root].
func (m *Manager) RootEnabled(context.Context) (bool, error) {
	_, err := m.password(rootUser)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// DisableRoot implements [datastores.Root]. memcached asks for a password when a connection begins: those that root has
// open last until they are closed, or the instance is restarted.
func (m *Manager) DisableRoot(ctx context.Context) error {
	password, err := m.password(rootUser)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := volume.Own(m.env).Remove(passwordFile(rootUser)); err != nil {
		return err
	}
	return m.reload(ctx, func(ctx context.Context) error {
		if err := login(ctx, m.env.Address, rootUser, password); !errors.Is(err, errDenied) {
			return fmt.Errorf("root can still log in (%w)", err)
		}
		return nil
	})
}

// reload has the server read the accounts, and waits until done finds that it has.
func (m *Manager) reload(ctx context.Context, done func(context.Context) error) error {
	if err := m.writeAccounts(); err != nil {
		return err
	}
	server, err := m.server()
	if err != nil {
		return err
	}
	if _, _, running := server.Running(); !running {
		return nil // the next start reads them
	}
	if err := server.Signal(syscall.SIGHUP); err != nil {
		return fmt.Errorf("cannot tell memcached of its accounts: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, reloadTimeout)
	defer cancel()
	return server.Await(ctx, done)
}
