package mysql

import (
	"context"
	"database/sql"

	"github.com/cofferdb/coffer/datastores/configfile"
)

const requireSecure = "require_secure_transport"

// tlsSettings are those of how the server speaks TLS. Key and
// certificate are in one file: the server takes of it what it looks for.
func (m *Manager) tlsSettings() []configfile.Setting {
	t := m.env.ServerTLS()
	if !t.On() {
		return m.variant.noTLS
	}
	return []configfile.Setting{
		{Name: "ssl_cert", Value: t.CertificateFile()},
		{Name: "ssl_key", Value: t.CertificateFile()},
		{Name: "ssl_ca", Value: t.AuthorityFile()},
		{Name: "tls_version", Value: m.variant.tlsVersions},
		{Name: requireSecure, Value: onOff(t.Enforced())}, // the guest's socket is secure
	}
}

// UseTLS implements [datastores.TLS]. A server that speaks TLS reads its files again; it takes a restart to begin, or to cease.
func (m *Manager) UseTLS(ctx context.Context) (restart bool, err error) {
	t := m.env.ServerTLS()
	return restart, m.turn(ctx, func(db *sql.DB) error {
		if err := m.secureSource(ctx, db); err != nil {
			return err
		}
		var speaks, enforced bool
		if err := db.QueryRowContext(ctx, "SELECT "+m.variant.speaksTLS+", @@GLOBAL."+requireSecure).Scan(&speaks, &enforced); err != nil {
			return failed(err, "cannot ask the server whether it speaks TLS")
		}
		restart = speaks != t.On()
		var statements []string
		if reload := m.variant.dialect.reloadTLS(); speaks && t.On() && reload == "" {
			restart = true
		} else if speaks && t.On() {
			statements = append(statements, reload)
		}
		if t.Enforced() && speaks || enforced && !t.Enforced() {
			statements = append(statements, "SET GLOBAL "+requireSecure+" = "+onOff(t.Enforced()))
		}
		return failed(execute(ctx, db, statements...), "the server does not take its certificate")
	})
}

// secureSource has a replica follow its source by TLS, checked, or without, as the guest is told now.
func (m *Manager) secureSource(ctx context.Context, db *sql.DB) error {
	words, t := m.variant.dialect.words(), m.env.ServerTLS()
	row, err := oneRow(ctx, db, words.status)
	if err != nil || row == nil || row[words.host] == "" {
		return failed(err, "cannot read the state of replication")
	}
	if t.VerifySource {
		if row[words.sourceTLS] == "Yes" && row[words.sourceChecked] == "Yes" && row[words.sourceCA] == t.AuthorityFile() {
			return nil
		}
	} else if row[words.sourceTLS] == "No" {
		return nil
	}
	if err := m.forgets(); err != nil {
		return err
	}
	return failed(execute(ctx, db, words.stop, words.change+" "+m.variant.dialect.toSource(t), words.start), "cannot follow the source by TLS")
}
