package cassandra

import (
	"context"
	"crypto/tls"
	"fmt"

	"golang.org/x/crypto/bcrypt"
)

// adminCost is how often the guest's own password is hashed: it is long and random, and a login is made for every call.
const adminCost = bcrypt.MinCost

// admit starts the server so that only the guest gets in, by its certificate, puts the guest's own account into it, and stops it. A new
// server has no account at all then, and one that was restored has those of its backup. It may be cut off anywhere: the server stays
// closed until the account is there. before is what is done with the server before that; nil: nothing.
func (m *Manager) admit(ctx context.Context, before func(context.Context, *session) error) error {
	if _, _, ok := m.service.Running(); !ok {
		if err := m.configure(true); err != nil {
			return fmt.Errorf("cannot configure the server: %w", err)
		}
	}
	if err := m.service.Start(ctx); err != nil {
		return err
	}
	secure, err := m.closedTLS()
	if err != nil {
		return err
	}
	password, err := m.adminPassword()
	if err != nil {
		return err
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), adminCost)
	if err != nil {
		return err
	}
	if err := m.await(ctx, func(ctx context.Context) error { return m.writeAdmin(ctx, secure, string(hash), before) }); err != nil {
		return fmt.Errorf("cannot make the guest's account: %w", err)
	}
	if err := m.Stop(ctx); err != nil {
		return err
	}
	return m.own.WriteFile(admittedFile, nil)
}

// writeAdmin makes the account where roles are stored: nobody who is logged in here could make a superuser.
func (m *Manager) writeAdmin(ctx context.Context, secure *tls.Config, hash string, before func(context.Context, *session) error) error {
	s, err := m.dial(ctx, m.env.Address, adminUser, "", secure)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := m.checkVersion(ctx, s); err != nil {
		return err
	}
	if before != nil {
		if err := before(ctx, s); err != nil {
			return err
		}
	}
	return s.exec(ctx, insertAdmin(hash))
}

func insertAdmin(hash string) string {
	return "INSERT INTO system_auth.roles (role, can_login, is_superuser, salted_hash) VALUES (" +
		text(adminUser) + ", true, true, " + text(hash) + ")"
}
