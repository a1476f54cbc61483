package redis

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/volume"
)

// mendLog makes the append-only files readable with which a server could not start, and reports whether it changed any.
//
// A server that runs out of space in the middle of a write cuts the file back to where it was, but goes on where the write
// had come to: when there is space again the file has zeroes between two commands, and everything behind them was
// acknowledged. The zeroes become annotations, which the server skips. A command that is torn at the end the server cuts off
// by itself. Any other damage stays as it is.
func (m *Manager) mendLog(ctx context.Context) (mended bool, err error) {
	tree, err := m.data.Open()
	if err != nil {
		return false, err
	}
	defer func() { _ = tree.Close() }()
	manifest, err := tree.ReadFile(manifestFile, maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, name := range manifestNames(manifest) {
		if !strings.HasSuffix(name, ".aof") {
			continue
		}
		changed, err := mendFile(ctx, tree, filepath.Join(aofFolder, name))
		mended = mended || changed
		if errors.Is(err, syscall.ENOSPC) {
			return mended, datastores.Errorf(datastores.Full, "the volume is full, the server cannot start; resize the volume")
		}
		if err != nil {
			return mended, fmt.Errorf("cannot mend %s: %w", name, err)
		}
	}
	return mended, nil
}

func mendFile(ctx context.Context, tree *volume.Tree, name string) (mended bool, err error) {
	f, err := tree.OpenFile(name, os.O_RDWR)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	s := scanner{r: bufio.NewReaderSize(f, 256<<10), ctx: ctx}
	for {
		h, err := s.nextHole()
		if err != nil || h.from == h.to {
			return mended, err
		}
		if err := fillHole(f, h); err != nil {
			return mended, err
		}
		if err := f.Sync(); err != nil {
			return mended, err
		}
		mended = true
	}
}

// hole is a run of zeroes where a command should begin. next is the byte behind it; 0: it is the end of the file.
type hole struct {
	from, to int64
	next     byte
}

// fillHole makes annotations of it: lines that begin with '#', no longer than the server's 1024 bytes.
func fillHole(f *os.File, h hole) error {
	if h.next == 0 {
		return f.Truncate(h.from)
	}
	if h.to-h.from == 1 { // no line is that short: "*3" becomes "*03", and "#x" becomes "##x"
		fill := map[byte]string{'*': "*0", '#': "##"}[h.next]
		_, err := f.WriteAt([]byte(fill), h.from)
		return err
	}
	const most = 512
	for at := h.from; at < h.to; {
		n := min(h.to-at, most)
		if h.to-at-n == 1 {
			n--
		}
		line := append(append([]byte{'#'}, bytes.Repeat([]byte{'-'}, int(n-2))...), '\n')
		if _, err := f.WriteAt(line, at); err != nil {
			return err
		}
		at += n
	}
	return nil
}

// scanner reads the commands of an append-only file.
type scanner struct {
	r     *bufio.Reader
	at    int64
	ctx   context.Context
	name  string // of the command that was read last, in capitals; "": it is a long one, or an annotation
	stamp int64  // the second that the annotation says which was read last, since 1970
}

const longestName = 16

// errDamage is what is no command. A file that ends within one is io.EOF.
var errDamage = errors.New("this is no command")

// nextHole returns an empty hole at the end of the file, at a command that is torn there, and at any other damage.
func (s *scanner) nextHole() (hole, error) {
	from := s.at
	for s.ctx.Err() == nil {
		first, err := s.skipZeroes()
		if s.at > from && (err == io.EOF || first == '*' || first == '#') {
			return hole{from, s.at, first}, nil
		}
		if err == nil {
			err = s.command(first)
		}
		switch err {
		case nil:
			from = s.at
		case io.EOF, errDamage:
			return hole{}, nil
		case errHalfFilled:
		default:
			return hole{}, err
		}
	}
	return hole{}, s.ctx.Err()
}

// skipZeroes returns the first byte that is none, without reading it.
func (s *scanner) skipZeroes() (byte, error) {
	for {
		b, err := s.r.ReadByte()
		if err != nil {
			return 0, err
		}
		if b != 0 {
			return b, s.r.UnreadByte()
		}
		s.at++
	}
}

// command reads an annotation or a command.
func (s *scanner) command(first byte) error {
	s.name = ""
	if first == '#' {
		return s.annotation()
	}
	args, err := s.number('*')
	for named := false; err == nil && args > 0; args-- {
		var size int64
		if size, err = s.number('$'); err != nil {
			return err
		}
		if !named && size <= longestName {
			name, _ := s.r.Peek(int(size))
			s.name = strings.ToUpper(string(name))
		}
		named = true
		var n int64
		if n, err = io.CopyN(io.Discard, s.r, size); err == nil {
			s.at += n
			err = s.end()
		}
	}
	return err
}

// errHalfFilled is an annotation that goes over into zeroes: the filling of a hole was cut there.
var errHalfFilled = errors.New("this hole was not filled to its end")

func (s *scanner) annotation() error {
	if head, _ := s.r.Peek(32); bytes.HasPrefix(head, []byte("#TS:")) {
		if digits, _, ok := bytes.Cut(head[len("#TS:"):], []byte("\r\n")); ok {
			s.stamp, _ = strconv.ParseInt(string(digits), 10, 64)
		}
	}
	for {
		b, err := s.r.ReadByte()
		if err != nil {
			return err
		}
		if b == 0 {
			if err := s.r.UnreadByte(); err != nil {
				return err
			}
			return errHalfFilled
		}
		if s.at++; b == '\n' {
			return nil
		}
	}
}

// number reads a line that is a number after a kind.
func (s *scanner) number(kind byte) (int64, error) {
	line, err := s.r.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		return 0, errDamage
	}
	if err != nil {
		return 0, err
	}
	s.at += int64(len(line))
	digits, ok := bytes.CutSuffix(line, []byte("\r\n"))
	if !ok || len(digits) == 0 || digits[0] != kind {
		return 0, errDamage
	}
	n, err := strconv.ParseInt(string(digits[1:]), 10, 64)
	if err != nil || n < 0 {
		return 0, errDamage
	}
	return n, nil
}

func (s *scanner) end() error {
	end := make([]byte, 2)
	n, err := io.ReadFull(s.r, end)
	s.at += int64(n)
	switch {
	case err == io.ErrUnexpectedEOF:
		return io.EOF
	case err == nil && string(end) != "\r\n":
		return errDamage
	}
	return err
}
