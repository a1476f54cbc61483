package mysql

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// adminUser is the guest's own account, Trove's name for it. It can log in through the socket only.
const adminUser = "os_admin"

const (
	adminPasswordName = adminUser + ".password"
	initName          = "init.sql"
)

// newAdminPassword writes a password that the account has from the next start on.
func (m *Manager) newAdminPassword() error {
	return m.own.WriteFile(adminPasswordName, []byte(rand.Text()+"\n"))
}

func (m *Manager) adminPassword() (datastores.Secret, error) {
	password, err := m.own.ReadFile(adminPasswordName, 1<<10)
	if err != nil {
		return datastores.Secret{}, fmt.Errorf("cannot read the administration password: %w", err)
	}
	return datastores.NewSecret(strings.TrimSpace(string(password))), nil
}

// writeInit writes what the server runs at each start before it lets anybody in: the guest's account is made anew. So
// root can take it from the guest only until the next restart, and a restored server has the account of this guest.
func (m *Manager) writeInit() error {
	password, err := m.adminPassword()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the data directory is being made; no server is started before the password is there
	}
	if err != nil {
		return err
	}
	own, err := m.membersOwn()
	if err != nil {
		return err
	}
	a := account{adminUser, "localhost"}
	statements := append([]string{"SET SESSION sql_log_bin = 0"}, own...)
	statements = append(statements, m.variant.admin(a, m.variant.identified(password))...)
	script := strings.Join(statements, ";\n") + ";\n"
	return m.data.WriteFile(initName, []byte(script))
}

// mariadbAdmin are the statements that make the administration account. A server that holds passwords against a plug-in's
// rule would refuse hashes.
func mariadbAdmin(a account, identified string) []string {
	return []string{
		"SET GLOBAL strict_password_validation = OFF",
		"CREATE OR REPLACE USER " + a.sql() + identified,
		"GRANT ALL PRIVILEGES ON *.* TO " + a.sql() + " WITH GRANT OPTION",
	}
}
