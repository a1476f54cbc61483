package mysql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/volume"
)

// physical is a tool that copies a running server's files: mariadb-backup, or XtraBackup, from which it comes.
type physical struct {
	name    string   // the strategy's
	tool    string   // whose own backups can be brought in; "": nobody's
	program string   // the tool
	stream  string   // unpacks its stream
	files   []string // how the names of what it tells of a backup begin, in its versions
	// applyLogOnly: what is to be built on must not be made ready to start.
	applyLogOnly bool
	upgrades     bool // a newer version of it makes ready what an older one has copied
}

// copyStrategies are the ways to copy the server's files. The tool is named where it is not known yet whether it is installed.
func (m *Manager) copyStrategies() (all []datastores.BackupStrategy) {
	if tool := m.variant.physical.program; tool != "" {
		if _, err := os.Stat(m.tool(tool)); err == nil || m.env.Dir == "" || !m.variant.clones {
			all = append(all, m.toolStrategy())
		}
	}
	if m.variant.clones {
		all = append(all, m.cloneStrategy())
	}
	return all
}

// physicalStrategy is what replicas begin with; the zero one: there is none.
func (m *Manager) physicalStrategy() (s datastores.BackupStrategy) {
	if all := m.copyStrategies(); len(all) > 0 {
		s = all[0]
	}
	return s
}

func (m *Manager) toolStrategy() datastores.BackupStrategy {
	return datastores.BackupStrategy{
		StrategyName: datastores.StrategyName{Namespace: backupNamespace, Name: m.variant.physical.name},
		Incremental:  true,
		Upgrades:     m.variant.physical.upgrades,
		Replays:      m.variant.family == "mariadb",
		Tool:         m.variant.physical.tool,
		Precision:    m.precision(),
		Backup:       m.backupFiles,
		Restore:      m.restoreFiles,
	}
}

// precision is how exactly the times of the log are: MariaDB's has whole seconds.
func (m *Manager) precision() time.Duration {
	if m.variant.family == "mariadb" {
		return time.Second
	}
	return 0
}

const copyDir = tmpDir + "/backup" // for what the tool writes aside

func (m *Manager) backupFiles(ctx context.Context, req datastores.BackupRequest) (datastores.BackupReply, error) {
	if err := m.full(); err != nil {
		return datastores.BackupReply{}, err
	}
	var parent *backupMeta
	if req.Parent != nil {
		parent = new(backupMeta)
		if err := json.Unmarshal(req.Parent.Meta, parent); err != nil || parent.ToLSN == "" {
			return datastores.BackupReply{}, datastores.Errorf(datastores.Invalid, "backup %s does not say where it ends: make a full one", req.Parent.ID)
		}
		if err := m.sameServer(*parent, req.Parent.ID); err != nil {
			return datastores.BackupReply{}, err
		}
	}
	if err := m.data.Remove(copyDir); err != nil {
		return datastores.BackupReply{}, err
	}
	defer func() { _ = m.data.Remove(copyDir) }()
	if err := m.data.MakeDir(copyDir); err != nil {
		return datastores.BackupReply{}, err
	}
	if parent == nil {
		data, _ := m.sizes()
		req.Expect(data)
	}
	err := m.withLogin(ctx, func(login string, begun func()) error {
		return m.runTool(ctx, m.backupArgv(login, parent), nil, io.MultiWriter(hook(begun), req.Output))
	})
	if err != nil {
		return datastores.BackupReply{}, fmt.Errorf("cannot make the backup: %w", err)
	}
	meta, err := m.readMeta(func(name string) ([]byte, error) { return m.data.ReadFile(filepath.Join(copyDir, name), maxTold) })
	if err != nil {
		return datastores.BackupReply{}, fmt.Errorf("cannot make the backup: %w", err)
	}
	_, logs := m.sizes()
	b, err := json.Marshal(meta)
	return datastores.BackupReply{Meta: b, Without: logs}, err
}

func (m *Manager) backupArgv(login string, parent *backupMeta) []string {
	argv := []string{
		m.tool(m.variant.physical.program), login, "--backup", "--stream=xbstream",
		"--datadir=" + m.path(dataDir),
		"--target-dir=" + m.path(copyDir),
		"--extra-lsndir=" + m.path(copyDir),
		"--tmpdir=" + m.path(tmpDir),
	}
	if parent != nil {
		argv = append(argv, "--incremental-lsn="+parent.ToLSN)
	}
	return argv
}

// readMeta makes what is known of a backup of what its tool has told.
func (m *Manager) readMeta(read func(name string) ([]byte, error)) (backupMeta, error) {
	told := m.told(read)
	meta := backupMeta{
		Family: m.variant.family, Version: m.options.Version,
		FromLSN: told["from_lsn"], ToLSN: told["to_lsn"],
		GTID: gtidOf(told["binlog_pos"]),
	}
	if !lsn.MatchString(meta.ToLSN) {
		return meta, fmt.Errorf("%s did not say where the backup ends", m.variant.physical.program)
	}
	return meta, nil
}

// told is what the tool tells of a backup: two files of `name = value` lines.
func (m *Manager) told(read func(name string) ([]byte, error)) map[string]string {
	told := map[string]string{}
	for _, prefix := range m.variant.physical.files {
		for _, name := range []string{"checkpoints", "info"} {
			file, err := read(prefix + name)
			if err != nil {
				continue
			}
			for line := range strings.Lines(string(file)) {
				if name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), " = "); ok {
					told[name] = value
				}
			}
		}
	}
	return told
}

var (
	lsn          = regexp.MustCompile(`^[0-9]{1,20}$`)
	gtidOfChange = regexp.MustCompile(`GTID of the last change '([^']*)'`)
)

func gtidOf(position string) string {
	if found := gtidOfChange.FindStringSubmatch(position); found != nil {
		return strings.Join(strings.Fields(found[1]), "")
	}
	return ""
}

// sameServer refuses a backup that another server's tool has made: the formats of log and files belong to one version.
func (m *Manager) sameServer(meta backupMeta, id string) error {
	if meta.Family == m.variant.family && meta.Version == m.options.Version {
		return nil
	}
	return datastores.Errorf(datastores.Invalid, "backup %s is of %s %s, and this server is %s %s: restore it to that version and upgrade then",
		id, meta.Family, meta.Version, m.variant.family, m.options.Version)
}

// readable refuses a chain of backups of which the tool can make no data for this server.
func (m *Manager) readable(chain []datastores.BackupLink) error {
	if m.isPlain(chain) {
		return nil // what it is of stands in it
	}
	for _, link := range chain {
		var meta backupMeta
		if err := json.Unmarshal(link.Meta, &meta); err != nil {
			return datastores.Errorf(datastores.Invalid, "backup %s does not say what it is of", link.ID)
		}
		if err := m.sameServer(meta, link.ID); err != nil && !m.older(meta) {
			return err
		}
	}
	return nil
}

// older reports whether a backup is of a version before this one from which its tool can make data.
func (m *Manager) older(meta backupMeta) bool {
	was, is := slices.Index(m.variant.versions, meta.Version), slices.Index(m.variant.versions, m.options.Version)
	return m.variant.physical.upgrades && meta.Family == m.variant.family && was >= 0 && was < is
}

// upgradeRestored brings what was restored from the backups of an older version to the server's own. The server runs.
func (m *Manager) upgradeRestored(ctx context.Context, req datastores.RestoreRequest) error {
	if !m.restoresOlder(req.Chain) {
		return nil
	}
	req.Progress("upgrading the system tables")
	return m.upgradeTables(ctx)
}

func (m *Manager) restoresOlder(chain []datastores.BackupLink) bool {
	var meta backupMeta
	return len(chain) > 0 && json.Unmarshal(chain[0].Meta, &meta) == nil && m.older(meta)
}

// restoreFiles unpacks the full backup, makes it consistent, and does so with each increment on top of it.
func (m *Manager) restoreFiles(ctx context.Context, req datastores.RestoreRequest) error {
	if len(req.Chain) == 0 {
		return datastores.Errorf(datastores.Invalid, "there is no backup to restore")
	}
	if err := m.readable(req.Chain); err != nil {
		return err
	}
	if err := m.discardData(ctx); err != nil {
		return err
	}
	return m.makeDir(ctx, func(made *volume.Tree) error {
		for i, link := range req.Chain {
			req.Progress(fmt.Sprintf("restoring backup %d of %d", i+1, len(req.Chain)))
			if err := m.restoreLink(ctx, made, req.Chain, i); err != nil {
				return fmt.Errorf("cannot restore backup %s: %w", link.ID, err)
			}
		}
		if m.restoresOlder(req.Chain) {
			if err := settled(made); err != nil {
				return fmt.Errorf("cannot restore a backup of the version before: %w", err)
			}
		}
		for _, prefix := range append(m.variant.physical.files, "backup-my.cnf") { // what the tool has told is in Meta
			if err := made.RemovePrefixed(".", prefix); err != nil {
				return err
			}
		}
		if m.variant.family == "mysql" {
			return m.markCopied(true)
		}
		return m.bootstrap(ctx, strings.NewReader(forgetOthers+m.shutOut(m.isPlain(req.Chain))), "--datadir="+made.Path("."))
	})
}

const incrementDir = tmpDir + "/increment"

// restoreLink unpacks the i-th backup of a chain into a directory, or aside when it is to be put on top of what is there.
func (m *Manager) restoreLink(ctx context.Context, made *volume.Tree, chain []datastores.BackupLink, i int) error {
	making, link := made.Path("."), chain[i]
	into := making
	if i > 0 {
		into = m.path(incrementDir)
		if err := errors.Join(m.data.Remove(incrementDir), m.data.MakeDir(incrementDir)); err != nil {
			return err
		}
		defer func() { _ = m.data.Remove(incrementDir) }()
	}
	stream, err := link.Open(ctx)
	if err != nil {
		return err
	}
	err = m.runTool(ctx, []string{m.tool(m.variant.physical.stream), "-x", "-C", into}, stream, nil)
	_ = stream.Close()
	if err != nil {
		return err
	}
	if m.isPlain(chain) {
		if err := m.checkPlain(made); err != nil {
			return err
		}
	}
	return m.runTool(ctx, m.prepareArgv(making, into, i == len(chain)-1), nil, nil)
}

// prepareArgv makes what was unpacked into a directory consistent, there or on top of the data in making.
func (m *Manager) prepareArgv(making, into string, last bool) []string {
	argv := []string{m.tool(m.variant.physical.program), "--no-defaults", "--prepare", "--target-dir=" + making}
	if m.variant.physical.applyLogOnly && !last {
		argv = append(argv, "--apply-log-only")
	}
	if into != making {
		argv = append(argv, "--incremental-dir="+into)
	}
	return argv
}
