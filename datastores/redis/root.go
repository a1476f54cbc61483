package redis

import (
	"context"
	"fmt"

	"github.com/cofferdb/coffer/datastores"
)

// rootName is what Trove calls redis's root: it has a password and no name.
const rootName = "-"

// rootOff is the ACL of the default user until root is enabled.
func rootOff() []string { return []string{"reset", "off"} }

// rootOn is the ACL of the default user with a password: everything but what would take the server from its guest, or
// out of its place. Trove renames CONFIG for the same reason.
func rootOn(passwordHash string) []string {
	return []string{
		"reset", "on", "#" + passwordHash, "~*", "&*", "+@all",
		"-acl", "+acl|whoami", "+acl|cat", "+acl|genpass",
		"-config", "+config|get", "+config|resetstat",
		"-shutdown", "-debug", "-module", "-replicaof", "-slaveof", "-failover", "-client|kill",
	}
}

// EnableRoot implements [datastores.Root]. Redis keeps only a hash of the password, and checks it against that.
func (m *Manager) EnableRoot(ctx context.Context, password datastores.Secret) (string, error) {
	if password.IsZero() {
		return "", datastores.Errorf(datastores.Invalid, "root needs a password")
	}
	return rootName, m.setRoot(ctx, rootOn(hashed(password.Reveal())))
}

// DisableRoot implements [datastores.Root].
func (m *Manager) DisableRoot(ctx context.Context) error { return m.setRoot(ctx, rootOff()) }

// setRoot changes the default user, in the ACL file too, and ends the connections that it had under the old rules.
func (m *Manager) setRoot(ctx context.Context, rules []string) error {
	err := m.call(ctx,
		append([]string{"ACL", "SETUSER", "default"}, rules...),
		[]string{"ACL", "SAVE"},
		[]string{"CLIENT", "KILL", "USER", "default"},
	)
	if err != nil {
		return fmt.Errorf("cannot change root: %w", err)
	}
	return nil
}
