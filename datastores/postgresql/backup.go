package postgresql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/volume"
)

const backupNamespace = "postgresql_impl"

// BackupStrategies implements [datastores.Backups].
func (m *Manager) BackupStrategies() []datastores.BackupStrategy {
	all := []datastores.BackupStrategy{
		{
			StrategyName: datastores.StrategyName{Namespace: backupNamespace, Name: "pg_basebackup"},
			Incremental:  true,
			Replays:      true,
			Tool:         "pg_basebackup",
			Backup:       m.backup,
			Restore:      m.restore,
		},
		{
			StrategyName: datastores.StrategyName{Namespace: backupNamespace, Name: "pg_dump"},
			Logical:      true,
			Backup:       m.dump,
			Restore:      m.load,
		},
	}
	for _, more := range m.extra {
		all = append(all, more(m))
	}
	return all
}

// backupMeta is what is known of a backup: whose it is, and where in the log it ends.
type backupMeta struct {
	InstanceID string `json:"instance_id"`
	history
	Stop string `json:"stop"`
}

// backup makes a base backup, or saves the write-ahead log since the parent.
func (m *Manager) backup(ctx context.Context, req datastores.BackupRequest) (datastores.BackupReply, error) {
	now, err := m.history(ctx)
	if err != nil {
		return datastores.BackupReply{}, err
	}
	var stop lsn
	if req.Parent != nil {
		stop, err = m.walBackup(ctx, req, now)
	} else {
		stop, err = m.fullBackup(ctx, req, now)
	}
	if err != nil {
		return datastores.BackupReply{}, err
	}
	meta, err := json.Marshal(backupMeta{InstanceID: m.env.InstanceID, history: now, Stop: stop.String()})
	return datastores.BackupReply{Meta: meta}, err
}

// history is a server's history: two with the same id and timeline were one.
type history struct {
	SystemID string `json:"system_id"`
	Timeline int    `json:"timeline"`
}

// history asks for that of the server; no other connection tells it right after a promotion.
func (m *Manager) history(ctx context.Context) (history, error) {
	config, err := m.socketConfig(adminUser, homeDatabase)
	if err != nil {
		return history{}, err
	}
	s, err := replicationSession(ctx, config)
	if err != nil {
		return history{}, err
	}
	defer s.close()
	results, err := s.conn.Exec(ctx, "IDENTIFY_SYSTEM").ReadAll()
	if err != nil {
		return history{}, fmt.Errorf("cannot identify the server: %w", err)
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) < 2 {
		return history{}, errors.New("cannot identify the server: it says nothing")
	}
	row := results[0].Rows[0]
	return history{SystemID: string(row[0]), Timeline: int(value(row[1]).int())}, nil
}

// restore makes the data directory of a chain. At its first start the server replays the log of the whole chain, which
// lies where its own lies; nothing is fetched by any command. Then it goes on in a timeline of its own.
func (m *Manager) restore(ctx context.Context, req datastores.RestoreRequest) error {
	if err := m.Stop(ctx); err != nil {
		return err
	}
	if err := m.data.Discard(dataDir); err != nil {
		return err
	}
	return m.data.Make(dataDir, func(made *volume.Tree) error {
		for i, link := range req.Chain {
			req.Progress(fmt.Sprintf("unpacking backup %d of %d", i+1, len(req.Chain)))
			if err := m.unpackLink(ctx, link, made); err != nil {
				return err
			}
		}
		if err := m.checkMade(made); err != nil {
			return err
		}
		if err := m.replay(ctx, req.Log, made); err != nil {
			return err
		}
		return made.WriteFile("recovery.signal", nil)
	})
}

func (m *Manager) unpackLink(ctx context.Context, link datastores.BackupLink, made *volume.Tree) error {
	stream, err := link.Open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	if err := made.ReadTar(ctx, stream); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, stream) // the end of it may say that it is damaged
	return err
}
