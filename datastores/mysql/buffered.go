package mysql

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"io"
	"strconv"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/volume"
)

// MariaDB before 11.0 may keep changes of secondary indexes for later, in its change buffer: when innodb_change_buffering is not "none", its default. Servers from 11.0 on
// have none, and make the changes when they are first started. Measured with 11.8.9: indexes are damaged by that when rows were deleted. So a newer
// server is given no such data.

// The root of the change buffer is a page of the common tablespace, in a format that no version has changed.
const (
	pageSize   = 16384
	bufferRoot = 4 * pageSize
	typeAt     = 24 // of a page
	recordsAt  = 38 + 16
	levelAt    = 38 + 26
	indexPage  = 17855
	emptied    = 0 // by a server that has none
)

const settle = "as root SET GLOBAL innodb_change_buffering = 'none', SET GLOBAL innodb_fast_shutdown = 0, and restart the instance"

// settled refuses data of which changes of indexes are kept for later.
func settled(data *volume.Tree) error {
	f, err := data.Open("ibdata1")
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	page := make([]byte, pageSize)
	if _, err := f.ReadAt(page, bufferRoot); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	number := func(at int) uint16 { return binary.BigEndian.Uint16(page[at:]) }
	is := number(typeAt)
	if is == emptied || is == indexPage && number(levelAt) == 0 && number(recordsAt) == 0 {
		return nil
	}
	return datastores.Errorf(datastores.Conflict, "changes of indexes are kept for later in its change buffer, and a newer server damages the indexes: on the server of the version before, "+settle)
}

// settledHere is settled for the server's own data.
func (m *Manager) settledHere() error {
	volume, err := m.data.Open()
	if err != nil {
		return err
	}
	defer func() { _ = volume.Close() }()
	data, err := volume.In(dataDir)
	if err != nil {
		return err
	}
	defer func() { _ = data.Close() }()
	return settled(data)
}

// unsettled says what is in the way of a newer server while the one before runs.
func unsettled(ctx context.Context, db *sql.DB) (found []string, err error) {
	var name, buffers string
	err = db.QueryRowContext(ctx, "SHOW GLOBAL VARIABLES LIKE 'innodb\\_change\\_buffering'").Scan(&name, &buffers)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	var pages int
	if err == nil {
		err = db.QueryRowContext(ctx, "SELECT COALESCE(MAX(COUNT), 0) FROM information_schema.INNODB_METRICS WHERE NAME = 'ibuf_size'").Scan(&pages)
	}
	if err == nil && (buffers != "none" || pages > 1) {
		found = append(found, "the change buffer (innodb_change_buffering = "+buffers+") has "+strconv.Itoa(pages)+" pages, and a newer server damages indexes of which it holds changes: "+settle)
	}
	return found, failed(err, "cannot look at the change buffer")
}
