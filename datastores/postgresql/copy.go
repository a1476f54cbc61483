package postgresql

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/volume"
)

// A replica copies its source by the command BASE_BACKUP of the replication protocol, as pg_basebackup does: so the account
// needs no file, and the progress is the source's own. The source sends one tar with the write-ahead log that makes it
// whole in it.
const baseBackupCommand = "BASE_BACKUP (LABEL 'coffer', CHECKPOINT 'fast', PROGRESS, WAL, MANIFEST 'no')"

// replicationSession is a connection that takes the commands of the replication protocol.
func replicationSession(ctx context.Context, config *pgconn.Config) (*session, error) {
	config.RuntimeParams["replication"] = "true"
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("cannot log in for replication: %w", err)
	}
	return &session{conn}, nil
}

// baseBackup reads one answer to BASE_BACKUP.
type baseBackup struct {
	output   io.Writer
	progress func(done, total int64)

	result      int   // number of the result set that is being read
	total       int64 // bytes, an estimate
	done        int64
	tablespaces int
	stop        lsn
}

// run writes the tar of s's server to b.output.
func (b *baseBackup) run(ctx context.Context, s *session) error {
	frontend := s.conn.Frontend()
	frontend.SendQuery(&pgproto3.Query{String: baseBackupCommand})
	if err := frontend.Flush(); err != nil {
		return fmt.Errorf("cannot ask for a base backup: %w", err)
	}
	var refused error
	for {
		message, err := s.conn.ReceiveMessage(ctx)
		if err != nil {
			return fmt.Errorf("cannot read the base backup: %w", err)
		}
		switch message := message.(type) {
		case *pgproto3.RowDescription:
			b.result++
		case *pgproto3.DataRow:
			err = b.row(message.Values)
		case *pgproto3.CopyData:
			err = b.data(message.Data)
		case *pgproto3.ErrorResponse:
			refused = failed(pgconn.ErrorResponseToPgError(message), "cannot make a base backup")
		case *pgproto3.ReadyForQuery:
			if refused == nil && b.stop == 0 {
				refused = errors.New("cannot make a base backup: the server does not say where it ends")
			}
			return refused
		}
		if err != nil {
			return err
		}
	}
}

// row reads a row of the result sets around the data: where it begins, what there is, where it ends.
func (b *baseBackup) row(fields [][]byte) (err error) {
	switch b.result {
	case 2:
		if b.tablespaces++; b.tablespaces > 1 {
			return datastores.Errorf(datastores.Conflict, "there is a tablespace outside of the data directory, which cannot be copied: drop it")
		}
		if len(fields) > 2 {
			b.total = value(fields[2]).int() << 10
		}
	case 3:
		b.stop, err = parseLSN(string(fields[0]))
	}
	return err
}

// data reads a message: its kind is in the first byte.
func (b *baseBackup) data(message []byte) error {
	if len(message) == 0 {
		return errors.New("cannot read the base backup: an empty message")
	}
	kind, rest := message[0], message[1:]
	switch kind {
	case 'd':
		n, err := b.output.Write(rest)
		b.done += int64(n)
		return err
	case 'p':
		if len(rest) == 8 {
			done := int64(binary.BigEndian.Uint64(rest))
			b.progress(done, max(done, b.total))
		}
	case 'n':
		name, _, _ := bytes.Cut(rest, []byte{0})
		if string(name) != "base.tar" {
			return fmt.Errorf("cannot read the base backup: it holds %q", name)
		}
	}
	return nil
}

// copySource makes the data directory a copy of the source's.
func (m *Manager) copySource(ctx context.Context, req datastores.AttachRequest) error {
	config, err := networkConfig(req.Address, req.Account.User, req.Account.Password.Reveal(), homeDatabase)
	if err == nil {
		config.TLSConfig, err = m.env.ServerTLS().ToSource(req.Address)
	}
	if err != nil {
		return err
	}
	s, err := replicationSession(ctx, config)
	if err != nil {
		return err
	}
	defer s.close()
	return m.data.Make(dataDir, func(made *volume.Tree) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		r, w := io.Pipe()
		unpacked := make(chan error, 1)
		go func() {
			err := made.ReadTar(ctx, r)
			_ = r.CloseWithError(err) // the writer ends with it
			unpacked <- err
		}()
		b := baseBackup{output: w, progress: func(done, total int64) {
			req.Progress(fmt.Sprintf("copying the data of the source: %d of %d MB", done>>20, total>>20))
		}}
		err := b.run(ctx, s)
		_ = w.CloseWithError(err)
		if unpackErr := <-unpacked; unpackErr != nil {
			return unpackErr
		}
		return err
	})
}
