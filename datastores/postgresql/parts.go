package postgresql

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// A logical backup is a row of parts of which nobody knows the length beforehand: a line of JSON that says what it is, and
// chunks, each after its length in four bytes; a chunk of no length ends the part.

// part is the head of one.
type part struct {
	// Statements make the roles; of the first part.
	Statements []string `json:"statements,omitempty"`
	// Database is whose dump, in pg_dump's custom format, follows.
	Database string `json:"database,omitempty"`
}

// partWriter writes the content of one part.
type partWriter struct{ w io.Writer }

func writePart(w io.Writer, p part, content func(io.Writer) error) error {
	head, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if _, err := w.Write(append(head, '\n')); err != nil {
		return err
	}
	if content != nil {
		if err := content(partWriter{w}); err != nil {
			return err
		}
	}
	_, err = w.Write(make([]byte, 4))
	return err
}

func (p partWriter) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if _, err := p.w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(b)))); err != nil {
		return 0, err
	}
	return p.w.Write(b)
}

const (
	maxHead  = 64 << 20
	maxChunk = 16 << 20
)

// partReader reads parts one after the other.
type partReader struct {
	r    *bufio.Reader
	left uint32 // of the chunk
	end  bool   // of the part
}

func newPartReader(r io.Reader) *partReader {
	return &partReader{r: bufio.NewReaderSize(r, 64<<10), end: true}
}

// next reads the head of the next part; io.EOF after the last one. Its content is then what Read returns.
func (p *partReader) next() (part, error) {
	if !p.end {
		if _, err := io.Copy(io.Discard, p); err != nil {
			return part{}, err
		}
	}
	var head []byte
	for {
		line, err := p.r.ReadSlice('\n')
		head = append(head, line...)
		if err == nil {
			break
		}
		if errors.Is(err, io.EOF) && len(head) > 0 {
			return part{}, io.ErrUnexpectedEOF
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return part{}, err
		}
		if len(head) > maxHead {
			return part{}, errors.New("the head of a part is too long")
		}
	}
	var of part
	p.end, p.left = false, 0
	return of, json.Unmarshal(head, &of)
}

// Read implements [io.Reader] for the content of the part.
func (p *partReader) Read(b []byte) (int, error) {
	if p.end {
		return 0, io.EOF
	}
	if p.left == 0 {
		var size [4]byte
		if _, err := io.ReadFull(p.r, size[:]); err != nil {
			return 0, whole(err)
		}
		p.left = binary.BigEndian.Uint32(size[:])
		if p.left == 0 {
			p.end = true
			return 0, io.EOF
		}
		if p.left > maxChunk {
			return 0, fmt.Errorf("a chunk of %d bytes is too long", p.left)
		}
	}
	n, err := p.r.Read(b[:min(len(b), int(p.left))])
	p.left -= uint32(n)
	return n, whole(err)
}

// whole makes the end of the stream within a part an error.
func whole(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
