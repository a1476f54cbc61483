package postgresql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/datastores/volume"
)

// oldData is where the data of the version before lies once that of the new one is complete, until it has started.
const oldData = "before-upgrade"

// newData is where that of the new one is made.
const newData = "unfinished-upgrade"

// ReplicationStream implements [datastores.Streamer]: the log of one major version means nothing to another.
func (m *Manager) ReplicationStream() string { return strconv.Itoa(m.options.Version) }

// Upgrade implements [datastores.Upgrader], by pg_upgrade. The minor version of the new one must not be of an earlier day than
// that of the old one: security updates have changed what a catalogue holds (15.20 to 17.11 fails, to 17.12 not). The old data is
// copied, never linked, so that it stays as it was until the new server has answered.
func (m *Manager) Upgrade(ctx context.Context, req datastores.UpgradeRequest) error {
	old, err := m.before(req.From)
	if err != nil {
		return err
	}
	if err := old.Stop(ctx); err != nil {
		return err
	}
	version, err := m.dataVersion()
	if errors.Is(err, fs.ErrNotExist) { // killed between the two renames
		if err := m.swap(newData, oldData); err != nil {
			return err
		}
		version, err = m.dataVersion()
	}
	if err != nil {
		return err
	}
	if version < m.options.Version {
		if err := m.convert(ctx, old, req.Progress); err != nil {
			return err
		}
	}
	req.Progress("starting the server")
	if err := m.Start(ctx); err != nil {
		return m.undo(err)
	}
	if err := m.removeOld(); err != nil {
		return err
	}
	m.bringAlong(ctx, req.Progress)
	return nil
}

// before is the manager of the version before.
func (m *Manager) before(options json.RawMessage) (*Manager, error) {
	var from Options
	if err := json.Unmarshal(options, &from); err != nil {
		return nil, datastores.Errorf(datastores.Invalid, "the options of the version before: %v", err)
	}
	if from.Version == 0 {
		from.Version, from.BinDir = DefaultOptions().Version, DefaultOptions().BinDir
	}
	if from.Version > m.options.Version {
		return nil, datastores.Errorf(datastores.Invalid, "PostgreSQL %d cannot take over the data of %d: there is no way back to an older version", m.options.Version, from.Version)
	}
	return New(m.env, from), nil
}

// undo puts the old data back after a start that failed.
func (m *Manager) undo(failure error) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if there, err := m.data.Exists(oldData); err != nil || !there {
		return errors.Join(failure, err)
	}
	if err := errors.Join(m.Stop(ctx), m.swap(oldData, newData)); err != nil {
		return fmt.Errorf("%w; the data of the version before cannot be put back: %w", failure, err)
	}
	return unchanged(failure)
}

// bringAlong does what pg_upgrade leaves to others: it brings the extensions to the version that comes with the server, and
// collects what the planner has to know. The server works without either, as well as it can.
func (m *Manager) bringAlong(ctx context.Context, progress func(string)) {
	progress("updating extensions and collecting statistics")
	var databases []string
	err := m.with(ctx, func(s *session) (err error) {
		databases, err = s.column(ctx, "SELECT datname FROM pg_database WHERE datallowconn")
		return err
	})
	for _, name := range databases {
		e := m.withIn(ctx, name, func(s *session) error { return errors.Join(updateExtensions(ctx, s), s.exec(ctx, "ANALYZE")) })
		err = errors.Join(err, e)
	}
	if err != nil {
		m.env.Log.Warn("not everything was brought along", "err", err)
	}
}

func updateExtensions(ctx context.Context, s *session) error {
	older, err := s.column(ctx, "SELECT name FROM pg_available_extensions WHERE installed_version <> default_version")
	for _, name := range older {
		err = errors.Join(err, s.exec(ctx, "ALTER EXTENSION "+identifier(name)+" UPDATE"))
	}
	return err
}

// dataVersion tells the version of the data directory.
func (m *Manager) dataVersion() (int, error) {
	b, err := m.data.ReadFile(dataDir+"/PG_VERSION", 1<<10)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

// convert makes the data directory of the new version beside the old one, and puts it in its place.
func (m *Manager) convert(ctx context.Context, old *Manager, progress func(string)) error {
	r, err := m.loadSide()
	if err != nil {
		return err
	}
	if r.Standby {
		return datastores.Errorf(datastores.Invalid, "a replica cannot be upgraded: delete it, upgrade its source and make it anew")
	}
	tree, err := m.data.Open()
	if err != nil {
		return err
	}
	defer func() { _ = tree.Close() }()
	slots, err := tree.List(dataDir + "/pg_replslot")
	if err != nil {
		return err
	}
	if len(slots) > 0 {
		return datastores.Errorf(datastores.Invalid, "a server with replicas cannot be upgraded: delete them first")
	}
	if err := m.data.Remove(newData); err != nil {
		return err
	}
	if err := m.recoverOld(ctx, old); err != nil {
		return err
	}
	err = tree.Fill(newData, func(*volume.Tree) error {
		progress("initialising the new data directory")
		if err := m.initdb(ctx, m.path(newData)); err != nil {
			return err
		}
		progress("upgrading the data")
		return m.pgUpgrade(ctx, old)
	})
	if err != nil {
		return unchanged(err)
	}
	return m.swap(newData, oldData)
}

// unchanged says of an error that the old version can be started again.
func unchanged(err error) error {
	return datastores.Errorf(datastores.Invalid, "cannot upgrade the data, which is as it was: %v", err)
}

// recoverOld lets an old server that was killed recover: pg_upgrade wants one that was stopped.
func (m *Manager) recoverOld(ctx context.Context, old *Manager) error {
	control, err := old.control(ctx)
	if err != nil || control["Database cluster state"] == "shut down" {
		return err
	}
	if err := old.Start(ctx); err != nil {
		return err
	}
	return old.Stop(ctx)
}

// pgUpgrade runs the program. The servers that it starts have their sockets where nobody but the server's user comes.
func (m *Manager) pgUpgrade(ctx context.Context, old *Manager) error {
	temp, remove, err := volume.Temp(m.env)
	if err != nil {
		return err
	}
	defer remove()
	// The server's user is let in for that long, through those sockets.
	if err := temp.WriteFile(hbaName, []byte("local all all trust\n")); err != nil {
		return err
	}
	sockets := temp.Path
	hba := "-c hba_file=" + filepath.Join(sockets, hbaName)
	argv := []string{m.program("pg_upgrade"),
		"--old-bindir=" + old.options.BinDir, "--new-bindir=" + m.options.BinDir,
		"--old-datadir=" + m.path(dataDir), "--new-datadir=" + m.path(newData),
		"--username=" + adminUser, "--socketdir=" + sockets,
		"--old-options=" + hba, "--new-options=" + hba, "--no-sync", "--jobs=1",
	}
	if _, err = m.run(ctx, argv, service.RunOptions{Dir: sockets, Env: []string{"TMPDIR=" + sockets}}); err != nil {
		return fmt.Errorf("%w\n%s", err, m.upgradeWords())
	}
	return nil
}

// upgradeWords is the end of the log that pg_upgrade has written last.
func (m *Manager) upgradeWords() string {
	tree, err := m.data.Open()
	if err != nil {
		return ""
	}
	defer func() { _ = tree.Close() }()
	var last string
	var at time.Time
	_ = tree.Walk(newData+"/pg_upgrade_output.d", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !strings.HasSuffix(path, ".log") {
			return nil
		}
		if info, err := d.Info(); err == nil && info.ModTime().After(at) && info.Size() > 0 {
			last, at = path, info.ModTime()
		}
		return nil
	})
	words, _ := tree.Tail(last, 2<<10)
	return string(words)
}

func (m *Manager) removeOld() error {
	if err := m.data.Remove(oldData); err != nil {
		return fmt.Errorf("cannot remove the data of the version before: %w", err)
	}
	return nil
}
