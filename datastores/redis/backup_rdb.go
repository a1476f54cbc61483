package redis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// A snapshot may have to wait until another child of the server has ended; the server says every second that it is there.
const snapshotSilence = 2 * time.Minute

// backupRDB asks for a snapshot as a new replica does, and takes it from the socket: a consistent one, with no file on
// the server. The server's child, and its copies of pages that change meanwhile, last as long as Output takes to write
// it; a server of many writes and a slow network is better served by the strategy aof.
func (m *Manager) backupRDB(ctx context.Context, req datastores.BackupRequest) (datastores.BackupReply, error) {
	memory, err := m.info(ctx, "memory")
	if err != nil {
		return datastores.BackupReply{}, err
	}
	estimate, _ := strconv.ParseInt(memory["used_memory_dataset"], 10, 64)
	err = m.archive(ctx, req, estimate, func(a archiver) error {
		return m.talk(ctx, func(c *conn) error {
			mark, err := c.askSnapshot()
			if err != nil {
				return fmt.Errorf("the server gives no snapshot: %w", err)
			}
			return a.parts(dumpPrefix, newSnapshot(c, mark))
		})
	})
	return datastores.BackupReply{}, err
}

// sync asks for a snapshot. The server's child that makes it ends when the connection does.
func (c *conn) sync() error {
	for _, command := range [][]string{{"REPLCONF", "capa", "eof"}, {"REPLCONF", "rdb-only", "1"}} {
		if _, err := c.call(command...); err != nil {
			return err
		}
	}
	_, err := c.Write(request([]string{"SYNC"}))
	return err
}

// askSnapshot asks for a snapshot, waits until it begins and returns the mark that ends it.
func (c *conn) askSnapshot() (mark []byte, err error) {
	if err := c.sync(); err != nil {
		return nil, err
	}
	for {
		if err := c.allow(snapshotSilence); err != nil {
			return nil, err
		}
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		text := strings.TrimRight(string(line), "\r\n")
		if mark, ok := strings.CutPrefix(text, "$EOF:"); ok && len(mark) == markSize {
			return []byte(mark), nil
		}
		switch {
		case text == "":
		case text[0] == '-':
			return nil, replyError(text[1:])
		default:
			return nil, fmt.Errorf("it answers %.40q", text)
		}
	}
}

const markSize = 40

// snapshot reads what the server sends until it closes the connection; then the last bytes must be the mark.
type snapshot struct {
	c    *conn
	mark []byte
	buf  []byte // what was read and not yet given away; its last bytes may be the mark
	err  error
}

func newSnapshot(c *conn, mark []byte) *snapshot {
	return &snapshot{c: c, mark: mark, buf: make([]byte, 0, 64<<10)}
}

func (s *snapshot) Read(p []byte) (int, error) {
	for len(s.buf) <= markSize {
		if s.err != nil {
			return 0, s.err
		}
		s.err = s.fill()
	}
	n := copy(p, s.buf[:len(s.buf)-markSize])
	s.buf = s.buf[:copy(s.buf, s.buf[n:])]
	return n, nil
}

func (s *snapshot) fill() error {
	if err := s.c.allow(snapshotSilence); err != nil {
		return err
	}
	n, err := s.c.r.Read(s.buf[len(s.buf):cap(s.buf)])
	s.buf = s.buf[:len(s.buf)+n]
	if err == io.EOF && !bytes.HasSuffix(s.buf, s.mark) {
		return errors.New("the server has ended the snapshot before it was complete; its log may say why")
	}
	return err
}
