package across

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/klauspost/compress/zstd"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
)

// Plain is what a tool of a database server's own has written: a file, the standard input, or a directory of pg_basebackup's tars.
// gzip and zstd are recognised.
type Plain struct {
	tool  string
	stdin io.Reader // nil: there are files
	read  bool      // stdin was
	files []string  // the log, when it is apart, is the second one
}

// stdinName stands for the standard input.
const stdinName = "-"

// OpenPlain finds what tool has written in a file or a directory, and looks how it begins; or reads stdin for "-", later.
func OpenPlain(tool, name string, stdin io.Reader) (*Plain, error) {
	if name == stdinName {
		return &Plain{tool: tool, stdin: stdin}, nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	files := []string{name}
	if info.IsDir() {
		if files, err = twoTars(name); err != nil {
			return nil, err
		}
	}
	p := &Plain{tool: tool, files: files}
	r, err := p.open()
	if err != nil {
		return nil, err
	}
	return p, r.Close()
}

// twoTars finds those of pg_basebackup in a directory.
func twoTars(name string) ([]string, error) {
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, e := range entries {
		kind, _, is := strings.Cut(e.Name(), ".tar")
		if is && strings.Trim(kind, "0123456789") == "" {
			return nil, fmt.Errorf("%s has tablespaces outside of the data directory (%s), which cannot be brought in: load a dump instead", name, e.Name())
		}
		if is {
			found[kind] = filepath.Join(name, e.Name())
		}
	}
	if found["base"] == "" || found["pg_wal"] == "" {
		return nil, fmt.Errorf("%s is a directory without base.tar and pg_wal.tar, which pg_basebackup -Ft writes", name)
	}
	return []string{found["base"], found["pg_wal"]}, nil
}

// Once reports whether it can be read only once, so that nobody knows how large it is before it was sent.
func (p *Plain) Once() bool { return p.stdin != nil }

// Measure reads all of it, and returns how many bytes it has as the tool made it.
func (p *Plain) Measure(show Meter) (n int64, err error) {
	r, err := p.open()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	m := &metered{r: r, moved: func() {}, show: func(done int64) { show(0, 1, done, -1) }}
	if n, err = io.Copy(io.Discard, m); err == nil {
		show(0, 1, n, n)
	}
	return n, err
}

// Import has it become a backup of the project. size is how much the data takes on a volume, in GB; bytes is 0 when nobody knows them.
func (p *Plain) Import(ctx context.Context, c *gophercloud.ServiceClient, wish Wish, size float64, bytes int64, show Meter) (b dbext.Backup, err error) {
	i := importing{ServiceClient: c}
	defer func() { err = i.tidy(ctx, err) }()
	if size == 0 {
		size = math.Max(float64(bytes), 1) / (1 << 30)
	}
	from := dbext.RestoreFrom{Datastore: wish.Datastore, Version: wish.Version, Tool: p.tool, Size: size, Bytes: bytes}
	if b, err = i.order(ctx, wish.Name, wish.Description, from); err != nil {
		return b, err
	}
	var sent int64
	b, err = i.deliver(ctx, b, dbext.Zstd, func() (io.ReadCloser, int64, error) {
		r, err := p.open()
		if err != nil {
			return nil, 0, err
		}
		return pack(r), -1, nil
	}, func(done, total int64) {
		sent = done
		show(0, 1, done, total)
	})
	if err == nil {
		show(0, 1, sent, sent) // now it is known
	}
	return b, err
}

// open returns the stream as the tool made it. Of two tars it makes the one that it would have written with the log in it.
func (p *Plain) open() (io.ReadCloser, error) {
	if p.Once() {
		if p.read {
			return nil, errors.New("the standard input cannot be read again")
		}
		p.read = true
		return p.unpack("the standard input", io.NopCloser(p.stdin))
	}
	var all []io.ReadCloser
	for _, name := range p.files {
		f, err := os.Open(name)
		if err == nil {
			var r io.ReadCloser
			if r, err = p.unpack(name, f); err == nil {
				all = append(all, r)
			}
		}
		if err != nil {
			closeAll(all)
			return nil, err
		}
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return piped(func(w io.Writer) error { return merge(w, all[0], all[1]) }, func() { closeAll(all) }), nil
}

func closeAll(all []io.ReadCloser) {
	for _, r := range all {
		_ = r.Close()
	}
}

// unpack decompresses what is compressed, and wants it to look as what the tool writes.
func (p *Plain) unpack(name string, r io.ReadCloser) (io.ReadCloser, error) {
	in := bufio.NewReaderSize(r, 1<<20)
	begin, _ := in.Peek(4)
	var out io.Reader = in
	end := func() { _ = r.Close() }
	switch {
	case bytes.HasPrefix(begin, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(in)
		if err != nil {
			end()
			return nil, fmt.Errorf("%s is damaged: %w", name, err)
		}
		out = z
	case bytes.Equal(begin, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1))
		if err != nil {
			end()
			return nil, err
		}
		out, end = z, func() { z.Close(); _ = r.Close() }
	}
	looks := bufio.NewReaderSize(out, 1<<20)
	if err := p.recognise(looks); err != nil {
		end()
		return nil, fmt.Errorf("%s %w", name, err)
	}
	return &closing{looks, end}, nil
}

// recognise looks at how a stream begins.
func (p *Plain) recognise(r *bufio.Reader) error {
	begin, err := r.Peek(512)
	if err != nil && err != io.EOF {
		return fmt.Errorf("is damaged: %w", err)
	}
	tarred := len(begin) == 512 && string(begin[257:262]) == "ustar"
	switch {
	case p.tool == "mariadb-backup" && !bytes.HasPrefix(begin, []byte("XBSTCK01")):
		return errors.New("is no output of mariadb-backup --backup --stream=xbstream, plain or compressed by gzip or zstd")
	case p.tool == "pg_basebackup" && !tarred:
		return errors.New("is no output of pg_basebackup -Ft, plain or compressed by gzip or zstd")
	}
	return nil
}

// merge writes the tar of a data directory with the one of its log in it.
func merge(to io.Writer, base, log io.Reader) error {
	w := tar.NewWriter(to)
	for prefix, from := range slices.All([]io.Reader{base, log}) {
		r := tar.NewReader(from)
		for {
			header, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return fmt.Errorf("the tar is damaged: %w", err)
			}
			if prefix == 1 {
				header.Name = "pg_wal/" + strings.TrimPrefix(header.Name, "./")
			}
			if err := w.WriteHeader(header); err != nil {
				return err
			}
			if _, err := io.Copy(w, r); err != nil {
				return err
			}
		}
	}
	return w.Close()
}

// pack compresses, so that no more goes over the network than must.
func pack(r io.ReadCloser) io.ReadCloser {
	return piped(func(w io.Writer) error {
		z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2), zstd.WithWindowSize(4<<20))
		if err != nil {
			return err
		}
		if _, err := io.Copy(z, r); err != nil {
			_ = z.Close()
			return err
		}
		return z.Close()
	}, func() { _ = r.Close() })
}

// piped is what write writes, as a reader. Its end waits for that of write, then runs after.
func piped(write func(io.Writer) error, after func()) io.ReadCloser {
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.CloseWithError(write(w)) // nil is the end of it
	}()
	return &closing{r, func() {
		_ = r.Close()
		<-done
		after()
	}}
}

// closing is a reader that is ended by a function.
type closing struct {
	io.Reader
	end func()
}

// Close ends it.
func (c *closing) Close() error {
	c.end()
	return nil
}
