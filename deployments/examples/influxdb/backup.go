package influxdb

import (
	"archive/tar"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/datastores/volume"
)

// BackupStrategies implements [datastores.Backups]. A backup is a tar archive of the server's working directory: its shards, each
// as it was at one moment, then databases and users.
func (m *Manager) BackupStrategies() []datastores.BackupStrategy {
	return []datastores.BackupStrategy{{
		StrategyName: datastores.StrategyName{Namespace: "influxdb_impl", Name: "snapshot"},
		Backup:       m.backup,
		Restore:      m.restore,
	}}
}

// What can be asked at the private port: RequestType of the server's services/snapshotter.
const (
	askShard  = 0
	askMeta   = 1
	askShards = 3
)

func (m *Manager) backup(ctx context.Context, req datastores.BackupRequest) (reply datastores.BackupReply, err error) {
	shards, err := m.shards(ctx)
	if err != nil {
		return reply, err
	}
	archive := tar.NewWriter(req.Output)
	for _, shard := range shards {
		if err := m.backupShard(ctx, archive, shard); err != nil {
			return reply, err
		}
	}
	data, err := m.ask(ctx, askMeta, 0, readMeta)
	if err != nil {
		return reply, err
	}
	if err := archive.WriteHeader(&tar.Header{Name: metaFile, Mode: 0o600, Size: int64(len(data))}); err != nil {
		return reply, err
	}
	if _, err := archive.Write(data); err != nil {
		return reply, err
	}
	return reply, archive.Close()
}

// backupShard copies what the server sends of one shard, unless that has been dropped since it was listed.
func (m *Manager) backupShard(ctx context.Context, to *tar.Writer, shard string) error {
	id, err := strconv.ParseUint(filepath.Base(shard), 10, 64)
	if err != nil {
		return fmt.Errorf("the server has a shard without a number: %w", err)
	}
	_, err = m.ask(ctx, askShard, id, func(r io.Reader) ([]byte, error) {
		return nil, volume.CopyTar(ctx, to, shardsDir+"/", r)
	})
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if there, listErr := m.shards(ctx); listErr == nil && !slices.Contains(there, shard) {
		return nil
	}
	return err
}

// shards are database/retention policy/number of each.
func (m *Manager) shards(ctx context.Context) ([]string, error) {
	list, err := m.ask(ctx, askShards, 0, func(r io.Reader) ([]byte, error) { return io.ReadAll(io.LimitReader(r, maxMeta)) })
	var reply struct{ Paths []string }
	if err == nil {
		err = json.Unmarshal(list, &reply)
	}
	return reply.Paths, err
}

// readMeta reads a mark, a length, and what the server would keep in metaFile.
func readMeta(r io.Reader) ([]byte, error) {
	var head struct{ Mark, Size uint64 }
	if err := binary.Read(r, binary.BigEndian, &head); err != nil {
		return nil, err
	}
	if head.Mark != 0x59590101 || head.Size > maxMeta {
		return nil, errors.New("the server does not send its databases and users")
	}
	data := make([]byte, head.Size)
	_, err := io.ReadFull(r, data)
	return data, err
}

// ask has read take the answer to one question at the private port, which is open to the instance's own address.
func (m *Manager) ask(ctx context.Context, what byte, shard uint64, read func(io.Reader) ([]byte, error)) ([]byte, error) {
	conn, err := service.Dialer(m.env.Address).DialContext(ctx, "tcp", net.JoinHostPort(m.env.Address, strconv.Itoa(privatePort)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	question, err := json.Marshal(map[string]any{"Type": what, "ShardID": shard})
	if err != nil {
		return nil, err
	}
	const snapshotter = 3 // of what listens there
	if _, err := conn.Write(append(append([]byte{snapshotter, what}, question...), '\n')); err != nil {
		return nil, err
	}
	answer, err := read(conn)
	return answer, errors.Join(err, ctx.Err())
}

// restore unpacks a backup beside the place of the data, which it takes when it is whole. A database that was dropped while the
// backup was made has left its shards.
func (m *Manager) restore(ctx context.Context, req datastores.RestoreRequest) error {
	return volume.Data(m.env).Make(folder, func(made *volume.Tree) error {
		req.Progress("unpacking the backup")
		stream, err := req.Chain[0].Open(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = stream.Close() }()
		if err := made.ReadTar(ctx, stream); err != nil {
			return err
		}
		req.Progress("looking at the databases")
		data, err := made.ReadFile(metaFile, maxMeta)
		if err != nil {
			return datastores.Errorf(datastores.Invalid, "the backup holds no databases and users")
		}
		databases, err := namesOf(data, databasesField)
		if err != nil {
			return err
		}
		found, err := made.List(shardsDir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		for _, f := range found {
			if !slices.Contains(databases, f.Name()) {
				err = errors.Join(err, made.Remove(shardsDir+"/"+f.Name()))
			}
		}
		return err
	})
}
