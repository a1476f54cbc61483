package redis

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores/service"
)

// account is a user of the server's. What it may do follows from what it is, and is never read back: a newer guest's
// rules hold from the next start on.
type account struct {
	Name    string   `json:"name"`
	On      bool     `json:"on"`
	Hashes  []string `json:"hashes,omitempty"` // SHA-256 of its passwords
	replica bool
}

// tenantRules are the rights of root and of users: every key and command but administration, which would take the server
// from its guest, or out of its place, and MIGRATE, which connects to any machine. CONFIG GET is administration: it
// tells a replica's password. What only looks is given back.
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

// rules are a's ACL rules, for a user without any.
func (a account) rules(readOnly bool) []string {
	if !a.On {
		return []string{"off"}
	}
	rules := []string{"on"}
	for _, h := range a.Hashes {
		rules = append(rules, "#"+h)
	}
	switch {
	case a.Name == adminUser:
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
		case w == "on":
			a.On = true
		case w == "~*":
			a.replica = false
		case strings.HasPrefix(w, "#"):
			a.Hashes = append(a.Hashes, w[1:])
		}
	}
	a.On = a.On && len(a.Hashes) > 0 // never without a password
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
	return slices.DeleteFunc(slices.Clone(all), func(a account) bool { return a.replica || a.Name == adminUser })
}

func findAccount(all []account, name string) (account, bool) {
	i := slices.IndexFunc(all, func(a account) bool { return a.Name == name })
	if i < 0 {
		return account{}, false
	}
	return all[i], true
}

// writeUsers writes the ACL file: the guest's account, the default user (off unless the accounts say otherwise) and the
// others.
func (m *Manager) writeUsers(all []account, readOnly bool) error {
	password, err := m.adminPassword()
	if err != nil {
		return err
	}
	list := []account{{Name: adminUser, On: true, Hashes: []string{hashed(password)}}}
	if _, ok := findAccount(all, rootUser); !ok {
		list = append(list, account{Name: rootUser})
	}
	for _, a := range all {
		if a.Name != adminUser {
			list = append(list, a)
		}
	}
	var b bytes.Buffer
	for _, a := range list {
		fmt.Fprintf(&b, "user %s %s\n", a.Name, strings.Join(a.rules(readOnly), " "))
	}
	return service.WriteFile(m.env.DataDir, usersFile, b.Bytes(), m.env.UID, m.env.GID)
}

func (m *Manager) readUsers() ([]account, error) {
	root, err := os.OpenRoot(m.env.DataDir) // the folder is in the server's hands: see service.WriteFile
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	b, err := root.ReadFile(usersFile)
	if errors.Is(err, os.ErrNotExist) {
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
