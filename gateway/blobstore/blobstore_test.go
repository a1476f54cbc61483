package blobstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
)

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// onlyReader hides everything else, as a request's body does.
type onlyReader struct{ io.Reader }

func put(s Store, name string, body []byte) error {
	return s.Put(context.Background(), name, int64(len(body)), sum(body), onlyReader{bytes.NewReader(body)})
}

func get(s Store, name string) ([]byte, error) {
	r, size, err := s.Get(context.Background(), name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	body, err := io.ReadAll(r)
	if err == nil && int64(len(body)) != size {
		err = errors.New("the size is another one")
	}
	return body, err
}

// suite is what every Store must pass.
func suite(t *testing.T, s Store) {
	t.Run("round trip", func(t *testing.T) {
		for name, body := range map[string][]byte{
			"backups/p/id/00000000": {}, "backups/p/id/00000001": noise(8 << 20), "a": noise(1), "b/A-Z_0.9": noise(70_000),
		} {
			if err := put(s, name, body); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if got, err := get(s, name); err != nil || !bytes.Equal(got, body) {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
		}
	})
	t.Run("replaced", func(t *testing.T) {
		for _, body := range [][]byte{noise(1000), noise(10), noise(2000)} {
			if err := put(s, "replaced/1", body); err != nil {
				t.Error(err)
			}
			if got, err := get(s, "replaced/1"); err != nil || !bytes.Equal(got, body) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		}
	})
	t.Run("missing", func(t *testing.T) {
		for _, name := range []string{"missing/1", "replaced", "replaced/2"} {
			if _, err := get(s, name); !errors.Is(err, ErrNotFound) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	t.Run("damaged", func(t *testing.T) { damaged(t, s) })
	t.Run("names", func(t *testing.T) {
		for _, name := range []string{"", "/", "/a", "a/", "a//b", "..", "a/../b", ".incoming/x", "a/.b", "ü", "a b", "a\\b", "a\x00", strings.Repeat("a/", 300) + "a", strings.Repeat("a", 129)} {
			if err := put(s, name, nil); err == nil {
				t.Errorf("%q was stored", name)
			}
			if _, err := get(s, name); err == nil || errors.Is(err, ErrNotFound) {
				t.Errorf("%q was read: %v", name, err)
			}
			if err := s.DeleteAll(context.Background(), name); err == nil {
				t.Errorf("%q was deleted", name)
			}
		}
	})
	t.Run("delete", func(t *testing.T) { deleted(t, s) })
	t.Run("at the same time", func(t *testing.T) {
		var all sync.WaitGroup
		bodies := [][]byte{noise(100_000), noise(200_000), noise(300_000)}
		for i := range 12 {
			all.Go(func() {
				if err := put(s, "same/1", bodies[i%3]); err != nil {
					t.Error(err)
				}
				got, err := get(s, "same/1")
				if err != nil || len(got)%100_000 != 0 || !bytes.Equal(got, bodies[len(got)/100_000-1]) {
					t.Errorf("a mixture of %d bytes was read: %v", len(got), err)
				}
			})
		}
		all.Wait()
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		body := noise(100)
		if err := s.Put(ctx, "cancelled/1", 100, sum(body), bytes.NewReader(body)); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if _, err := get(s, "cancelled/1"); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
	})
}

// damaged: whatever goes wrong on the way, what was there stays, and nothing appears where nothing was.
func damaged(t *testing.T, s Store) {
	old, body, broken := noise(500), noise(100_000), errors.New("connection reset")
	if err := put(s, "damaged/old", old); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		size int64
		sum  string
		r    io.Reader
		want error
	}{
		{int64(len(body)), sum(old), bytes.NewReader(body), ErrDamaged},
		{int64(len(body)), "", bytes.NewReader(body), ErrDamaged},
		{int64(len(body)) + 1, sum(body), bytes.NewReader(body), ErrDamaged},
		{int64(len(body)) - 1, sum(body[:len(body)-1]), bytes.NewReader(body), ErrDamaged},
		{0, sum(nil), bytes.NewReader(body), ErrDamaged},
		{0, sum(body), bytes.NewReader(nil), ErrDamaged},
		{int64(len(body)), sum(body), io.MultiReader(bytes.NewReader(body[:50_000]), iotest.ErrReader(broken)), broken},
	} {
		for _, name := range []string{"damaged/old", "damaged/new"} {
			if err := s.Put(context.Background(), name, c.size, c.sum, onlyReader{c.r}); !errors.Is(err, c.want) {
				t.Errorf("%d bytes announced: %v, want %v", c.size, err, c.want)
			}
			if seek, ok := c.r.(io.Seeker); ok {
				_, _ = seek.Seek(0, io.SeekStart)
			} else {
				c.r = iotest.ErrReader(broken)
			}
		}
	}
	if got, err := get(s, "damaged/old"); err != nil || !bytes.Equal(got, old) {
		t.Errorf("what was there: %d bytes, %v", len(got), err)
	}
	if _, err := get(s, "damaged/new"); !errors.Is(err, ErrNotFound) {
		t.Errorf("something of a damaged blob is there: %v", err)
	}
}

func deleted(t *testing.T, s Store) {
	names := []string{"del/p/id/1", "del/p/id/2", "del/p/id/more/3", "del/p/id2/1", "del/p/other"}
	for _, name := range names {
		if err := put(s, name, noise(10)); err != nil {
			t.Fatal(err)
		}
	}
	for _, prefix := range []string{"del/p/id", "del/p/id", "del/p/i", "del/p/other", "del/nobody"} {
		if err := s.DeleteAll(context.Background(), prefix); err != nil {
			t.Errorf("%s: %v", prefix, err)
		}
	}
	for _, name := range []string{"del/p/id2/1", "del/p/id2/1", "del/p/id2", "del/p", "del/nobody"} {
		if err := s.Delete(context.Background(), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i, name := range names {
		if _, err := get(s, name); errors.Is(err, ErrNotFound) != (i < 4) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
