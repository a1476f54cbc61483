package mysql

import (
	"context"
	"database/sql"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/configfile"
)

const requireSecure = "require_secure_transport"

// tlsSettings are those of how the server speaks TLS. Without any, MariaDB 11.8 would make a certificate of its own. Key and
// certificate are in one file: the server takes of it what it looks for.
func (m *Manager) tlsSettings() []configfile.Setting {
	t := m.env.ServerTLS()
	if !t.On() {
		return []configfile.Setting{{Name: "ssl", Value: "OFF"}}
	}
	return []configfile.Setting{
		{Name: "ssl_cert", Value: t.CertificateFile()},
		{Name: "ssl_key", Value: t.CertificateFile()},
		{Name: "ssl_ca", Value: t.AuthorityFile()},
		{Name: "tls_version", Value: "TLSv1.2,TLSv1.3"},
		{Name: requireSecure, Value: onOff(t.Enforced())}, // the guest's socket is secure
	}
}

// UseTLS implements [datastores.TLS]. A server that speaks TLS reads its files again; it takes a restart to begin, or to cease.
func (m *Manager) UseTLS(ctx context.Context) (restart bool, err error) {
	t := m.env.ServerTLS()
	return restart, m.session(func(db *sql.DB) error {
		if err := m.secureSource(ctx, db); err != nil {
			return err
		}
		var speaks, enforced bool
		if err := db.QueryRowContext(ctx, "SELECT @@GLOBAL.have_ssl = 'YES', @@GLOBAL."+requireSecure).Scan(&speaks, &enforced); err != nil {
			return failed(err, "cannot ask the server whether it speaks TLS")
		}
		restart = speaks != t.On()
		var statements []string
		if speaks && t.On() {
			statements = append(statements, m.variant.dialect.reloadTLS())
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
	return failed(execute(ctx, db, words.stop, words.change+" "+m.variant.dialect.toSource(t), words.start), "cannot follow the source by TLS")
}

// toSource are the clauses of MariaDB's statement that say how a replica connects.
func (mariadbDialect) toSource(t datastores.ServerTLS) string {
	if !t.VerifySource {
		return "MASTER_SSL = 0, MASTER_SSL_CA = '', MASTER_SSL_VERIFY_SERVER_CERT = 0"
	}
	return "MASTER_SSL = 1, MASTER_SSL_CA = " + text(t.AuthorityFile()) + ", MASTER_SSL_VERIFY_SERVER_CERT = 1"
}

// reloadTLS is not logged: replicas have files of their own.
func (mariadbDialect) reloadTLS() string { return "FLUSH LOCAL SSL" }

func (mysqlDialect) toSource(t datastores.ServerTLS) string {
	if !t.VerifySource {
		return "SOURCE_SSL = 0, SOURCE_SSL_CA = '', SOURCE_SSL_VERIFY_SERVER_CERT = 0"
	}
	return "SOURCE_SSL = 1, SOURCE_SSL_CA = " + text(t.AuthorityFile()) + ", SOURCE_SSL_VERIFY_SERVER_CERT = 1"
}

func (mysqlDialect) reloadTLS() string { return "ALTER INSTANCE RELOAD TLS" }
