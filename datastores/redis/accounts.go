package redis

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// account is a user of the server's. What it may do follows from what it is, and is never read back: a newer guest's
// rules hold from the next start on.
type account struct {
	Name    string   `json:"name"`
	Hashes  []string `json:"hashes,omitempty"` // SHA-256 of its passwords; none: nobody can log in
	replica bool
}

func (a account) on() bool { return len(a.Hashes) > 0 }

// tenantRules are the rights of root and of users: every key and command but administration, which would take the server
// from its guest, or out of its place, and MIGRATE, which connects to any machine. CONFIG GET is administration: it
// tells a replica's password. What only looks is given back.
//
// No command that writes data may leave this list: the server replays what tenants wrote with the rights of root, see
// replayRules.
func tenantRules(readOnly bool) []string {
	rules := []string{
		"~*", "&*", "+@all", "-@admin", "-migrate",
		"+client|list", "+client|unblock", "+config|resetstat", "+lastsave", "+latency", "+monitor", "+role", "+slowlog",
	}
	if readOnly {
		rules = append(rules, "-@write")
	}
	return rules
}

// replicaRules let a replica's server follow this one, and its guest see how far this is and copy the users.
func replicaRules() []string {
	return []string{"-@all", "+psync", "+replconf", "+ping", "+info", "+acl|list"}
}

// replayRules are those of the default user while nobody may log in as it. A server that starts replays its append-only
// file as the default user, and drops each transaction, and with it what scripts and functions wrote, of which that user
// may not do everything. "off" closes it to the network: no password is taken for it, and a connection that has not
// logged in as somebody else may do nothing.
func (a account) replayRules() []string {
	return append(append([]string{"off"}, a.passwords()...), "~*", "&*", "+@all")
}

func (a account) passwords() (rules []string) {
	for _, h := range a.Hashes {
		rules = append(rules, "#"+h)
	}
	return rules
}

// rules are a's ACL rules, for a user without any.
func (a account) rules(readOnly bool) []string {
	switch {
	case !a.on() && a.Name == rootUser:
		return a.replayRules()
	case !a.on():
		return []string{"off"}
	}
	rules := append([]string{"on"}, a.passwords()...)
	switch {
	case a.Name == adminUser || a.Name == clusterUser:
		return append(rules, "~*", "&*", "+@all")
	case a.replica:
		return append(rules, replicaRules()...)
	}
	return append(rules, tenantRules(readOnly)...)
}

// set is the command that makes a on the server, whatever it was.
func (a account) set(readOnly bool) []string {
	return append([]string{"ACL", "SETUSER", a.Name, "reset"}, a.rules(readOnly)...)
}

// parseAccount reads a line of the ACL file, or of ACL LIST. One without keys is a replica's.
func parseAccount(line string) (account, bool) {
	words := strings.Fields(line)
	if len(words) < 2 || words[0] != "user" {
		return account{}, false
	}
	a := account{Name: words[1], replica: words[1] != rootUser}
	for _, w := range words[2:] {
		switch {
		case w == "~*":
			a.replica = false
		case strings.HasPrefix(w, "#"):
			a.Hashes = append(a.Hashes, w[1:])
		}
	}
	return a, true
}

func parseAccounts(lines []string) []account {
	var list []account
	for _, line := range lines {
		if a, ok := parseAccount(line); ok {
			list = append(list, a)
		}
	}
	return list
}

// tenants are root and the users among the accounts.
func tenants(all []account) []account {
	return slices.DeleteFunc(slices.Clone(all), func(a account) bool { return a.replica || a.Name == adminUser || a.Name == clusterUser })
}

func findAccount(all []account, name string) (account, bool) {
	i := slices.IndexFunc(all, func(a account) bool { return a.Name == name })
	if i < 0 {
		return account{}, false
	}
	return all[i], true
}

// writeUsers writes the ACL file with which the server starts: the guest's account, the default user (off unless the
// accounts say otherwise) and the others. Root of a server that is read-only stays off until all is replayed, see admitRoot.
func (m *Manager) writeUsers(all []account, readOnly bool) error {
	password, err := m.adminPassword()
	if err != nil {
		return err
	}
	list := []account{{Name: adminUser, Hashes: []string{hashed(password)}}}
	st, err := m.loadSide()
	if err != nil {
		return err
	}
	if st.Cluster != nil {
		list = append(list, account{Name: clusterUser, Hashes: []string{hashed(st.Cluster.Secret)}})
	}
	if _, ok := findAccount(all, rootUser); !ok {
		list = append(list, account{Name: rootUser})
	}
	for _, a := range all {
		if a.Name != adminUser && a.Name != clusterUser {
			list = append(list, a)
		}
	}
	var b bytes.Buffer
	for _, a := range list {
		rules := a.rules(readOnly)
		if a.Name == rootUser && readOnly {
			rules = a.replayRules()
		}
		fmt.Fprintf(&b, "user %s %s\n", a.Name, strings.Join(rules, " "))
	}
	return m.data.WriteFile(usersFile, b.Bytes())
}

// admitRoot lets root of a read-only server in again, once the server has replayed its data.
func (m *Manager) admitRoot(ctx context.Context) error {
	st, err := m.loadSide()
	if err != nil || !st.ReadOnly {
		return err
	}
	all, err := m.accounts(ctx)
	if err != nil {
		return err
	}
	root, _ := findAccount(all, rootUser)
	return m.call(ctx, root.set(true))
}

func (m *Manager) readUsers() ([]account, error) {
	b, err := m.data.ReadFile(usersFile, maxUsers)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return parseAccounts(strings.Split(string(b), "\n")), err
}

// accounts are those of the running server.
func (m *Manager) accounts(ctx context.Context) (all []account, err error) {
	err = m.talk(ctx, func(c *conn) error {
		lines, err := c.list("ACL", "LIST")
		all = parseAccounts(lines)
		return err
	})
	return all, err
}

// setTenants makes root and the users of the running server exactly those, in the ACL file too. Connections of whoever
// is changed by that end.
func (m *Manager) setTenants(ctx context.Context, want []account, readOnly bool) error {
	have, err := m.accounts(ctx)
	if err != nil {
		return err
	}
	var commands [][]string
	for _, a := range tenants(have) {
		if _, stays := findAccount(want, a.Name); !stays && a.Name != rootUser {
			commands = append(commands, []string{"ACL", "DELUSER", a.Name})
		}
	}
	for _, a := range want {
		commands = append(commands, a.set(readOnly))
	}
	commands = append(commands, []string{"ACL", "SAVE"})
	for _, a := range want {
		if was, _ := findAccount(have, a.Name); readOnly || !slices.Equal(was.Hashes, a.Hashes) {
			commands = append(commands, []string{"CLIENT", "KILL", "USER", a.Name})
		}
	}
	return m.call(ctx, commands...)
}

// hashed is a password as an ACL rule takes it after "#".
func hashed(password string) string {
	h := sha256.Sum256([]byte(password))
	return hex.EncodeToString(h[:])
}
