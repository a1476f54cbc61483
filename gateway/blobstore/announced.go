package blobstore

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
)

// announced reads what a Put was told to expect. The last bytes are given out only when everything is as it was announced,
// so that whoever writes them to somewhere never has the whole of something else.
type announced struct {
	r    io.Reader
	size int64
	sum  string
	hash hash.Hash
	n    int64
	err  error // why it ended; nil and io.EOF are no failure
}

func newAnnounced(r io.Reader, size int64, sum string) *announced {
	return &announced{r: r, size: size, sum: sum, hash: sha256.New()}
}

func (a *announced) Read(p []byte) (int, error) {
	if a.err != nil {
		return 0, a.err
	}
	n, err := a.r.Read(p[:min(int64(len(p)), a.size-a.n)])
	a.hash.Write(p[:n])
	a.n += int64(n)
	switch {
	case a.n == a.size:
		a.err = a.whole()
	case err == io.EOF:
		a.err = fmt.Errorf("%w: %d bytes came, want %d", ErrDamaged, a.n, a.size)
	case err != nil:
		a.err = fmt.Errorf("cannot read the bytes to store: %w", err)
	}
	if a.err != nil && a.err != io.EOF {
		return 0, a.err
	}
	return n, a.err
}

// whole is io.EOF, or what is wrong with all of it.
func (a *announced) whole() error {
	if n, _ := io.ReadFull(a.r, make([]byte, 1)); n > 0 {
		return fmt.Errorf("%w: more than %d bytes came", ErrDamaged, a.size)
	}
	if sum := hex.EncodeToString(a.hash.Sum(nil)); sum != a.sum {
		return fmt.Errorf("%w: their SHA-256 is %s, want %s", ErrDamaged, sum, a.sum)
	}
	return io.EOF
}

// failure is what a Put returns when the reading failed, nil when it did not.
func (a *announced) failure() error {
	if a.err == io.EOF {
		return nil
	}
	return a.err
}
