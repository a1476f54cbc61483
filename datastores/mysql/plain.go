package mysql

import (
	"regexp"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/volume"
)

// A backup that somebody has made with the tool alone is what the guest's own are, save that nobody has told what it is of. The tool
// has: beside the data it writes what server it has copied, and with what settings the files were made.

// isPlain reports whether a chain is such a backup.
func (m *Manager) isPlain(chain []datastores.BackupLink) bool {
	return m.variant.physical.tool != "" && len(chain) == 1 && len(chain[0].Meta) == 0
}

// checkPlain looks at an unpacked one: it must be a full one, of this version, with files of which the server's settings are those that it
// would start with.
func (m *Manager) checkPlain(made *volume.Tree) error {
	tool := m.variant.physical.tool
	read := func(name string) ([]byte, error) { return made.ReadFile(name, maxTold) }
	told := m.told(read)
	from, _, _ := strings.Cut(told["server_version"], "-")
	switch {
	case told["backup_type"] == "" || told["server_version"] == "":
		return datastores.Errorf(datastores.Invalid, "it is no backup of %s --backup --stream=xbstream: the tool's own files are not in it", tool)
	case told["backup_type"] != "full-backuped":
		return datastores.Errorf(datastores.Invalid, "it is %s, and not a full backup that was not prepared yet", word(told["backup_type"]))
	case !strings.Contains(strings.ToLower(told["server_version"]), m.variant.family) || series(from) != series(m.options.Version):
		return datastores.Errorf(datastores.Invalid, "it is of a server %s, and this is %s %s: bring it in as that version, and upgrade then",
			word(told["server_version"]), m.variant.family, m.options.Version)
	}
	settings, err := read("backup-my.cnf")
	if err != nil {
		return datastores.Errorf(datastores.Invalid, "it does not say with what settings its files were made: backup-my.cnf is not in it")
	}
	for line := range strings.Lines(string(settings)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if name == "innodb_page_size" && value != "16384" || name == "innodb_data_file_path" && !oneFile.MatchString(value) {
			return datastores.Errorf(datastores.Invalid, "its files were made with %s = %s, with which this server does not read them: load a dump instead", name, word(value))
		}
	}
	return nil
}

// shutOut are the statements that lock accounts that nobody of the instance could see, each a line: of the guest's name, and of a server that no
// guest has looked after of all names that lists leave out, root's too, and of what looks like a replica's. They stay, for views and
// routines may be theirs; the guest's own is made anew at each start.
func (m *Manager) shutOut(plain bool) string {
	const lock = "UPDATE mysql.global_priv SET Priv = JSON_SET(Priv, '$.account_locked', JSON_EXTRACT('true', '$')) WHERE "
	if !plain {
		return lock + "User = " + text(adminUser) + ";\n"
	}
	var names []string
	for _, name := range m.options.IgnoreUsers {
		names = append(names, text(name))
	}
	return "DELETE FROM mysql.global_priv WHERE User = " + text(rootUser) + " AND Host NOT IN ('localhost', '%');\n" +
		lock + "User IN (" + strings.Join(names, ", ") + ");\n" +
		"UPDATE mysql.global_priv p JOIN mysql.user u ON u.User = p.User AND u.Host = p.Host SET p.Priv = JSON_SET(p.Priv, '$.account_locked', JSON_EXTRACT('true', '$')) WHERE NOT (" + noReplica + ");\n"
}

// oneFile is where a server keeps its common tablespace unless it is told otherwise. How large that began does not matter.
var oneFile = regexp.MustCompile(`^ibdata1:[0-9]+[KMG]?:autoextend`)

// word is what a person may be shown of what a backup says.
func word(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return -1
		}
		return c
	}, s[:min(len(s), 60)])
}
