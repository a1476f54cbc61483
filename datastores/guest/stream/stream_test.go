package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/cofferdb/coffer/datastores"
)

const (
	backup  = "0198c0de-0000-7000-8000-000000000001"
	another = "0198c0de-0000-7000-8000-000000000002"
	small   = 1 << 10 // a segment's size in these tests
)

var key = bytes.Repeat([]byte{7}, keySize)

// shelf is a Segments in memory. It keeps copies, as the network would.
type shelf struct {
	mu     sync.Mutex
	bodies map[int][]byte
	gets   []int
	put    func(ctx context.Context, n int) error // when set, called first
}

func (s *shelf) Put(ctx context.Context, n int, body []byte) error {
	if s.put != nil {
		if err := s.put(ctx, n); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bodies == nil {
		s.bodies = map[int][]byte{}
	}
	s.bodies[n] = bytes.Clone(body)
	return ctx.Err()
}

func (s *shelf) Get(ctx context.Context, n int) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gets = append(s.gets, n)
	if body, ok := s.bodies[n]; ok {
		return bytes.Clone(body), ctx.Err()
	}
	return nil, errors.New("there is no such segment")
}

// noise is data that zstd cannot make smaller.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func produce(data []byte) func(io.Writer) error {
	return func(w io.Writer) error { _, err := w.Write(data); return err }
}

// stored writes data as a backup of small segments.
func stored(t testing.TB, id string, key, data []byte) (*shelf, datastores.BackupRef) {
	t.Helper()
	s := &shelf{}
	ref, err := write(context.Background(), s, id, key, produce(data), small)
	if err != nil {
		t.Fatal(err)
	}
	return s, ref
}

// readAll returns what could be read, and how it ended.
func readAll(s Segments, ref datastores.BackupRef, key []byte) ([]byte, error) {
	r, err := Open(context.Background(), s, ref, key)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var data bytes.Buffer
		for range rapid.IntRange(0, 8).Draw(t, "parts") {
			part := noise(rapid.IntRange(0, 3*small).Draw(t, "bytes"))
			if rapid.Bool().Draw(t, "compressible") {
				clear(part)
			}
			data.Write(part)
		}
		var sealed []byte
		if rapid.Bool().Draw(t, "sealed") {
			sealed = key
		}
		chunk := rapid.IntRange(1, 2*small).Draw(t, "chunk")
		s := &shelf{}
		ref, err := write(context.Background(), s, backup, sealed, func(w io.Writer) error {
			for part := range slices.Chunk(data.Bytes(), chunk) {
				if _, err := w.Write(part); err != nil {
					return err
				}
			}
			return nil
		}, small)
		if err != nil {
			t.Fatal(err)
		}
		total := 0
		for n, body := range s.bodies {
			total += len(body)
			if n > 0 && (len(body) > small || n < ref.Segments && len(body) != small) {
				t.Errorf("segment %d of %d has %d bytes", n, ref.Segments, len(body))
			}
		}
		if ref.BackupID != backup || ref.Size != int64(data.Len()) || ref.Stored != int64(total) || ref.Segments != len(s.bodies)-1 {
			t.Errorf("%+v of %d bytes, %d stored in %d", ref, data.Len(), total, len(s.bodies))
		}
		got, err := readAll(s, ref, sealed)
		if err != nil || !bytes.Equal(got, data.Bytes()) {
			t.Errorf("%d bytes came back, want %d: %v", len(got), data.Len(), err)
		}
	})
}

// The same stream written again, after a crash say, is another backup by its bytes but the same by what it holds.
func TestWriteAgainOverTheFirst(t *testing.T) {
	data := noise(10 * small)
	s, first := stored(t, backup, key, data)
	again, err := write(context.Background(), s, backup, key, produce(data), small)
	if err != nil || again.SHA256 == first.SHA256 {
		t.Fatalf("%+v, %v: nonces were used twice", again, err)
	}
	if got, err := readAll(s, again, key); err != nil || !bytes.Equal(got, data) {
		t.Error(err)
	}
	if _, err := readAll(s, first, key); err == nil {
		t.Error("the first backup is still there, with the segments of the second")
	}
}

// Whatever is done to what is stored, no byte is returned that was not written, and the error says where.
func TestDamage(t *testing.T) {
	data := noise(6*small + small/2)
	for name, c := range map[string]struct {
		damage func(s, foreign *shelf, ref *datastores.BackupRef)
		key    []byte
		says   []string
	}{
		"a bit":                {func(s, _ *shelf, _ *datastores.BackupRef) { s.bodies[3][500] ^= 1 }, key, []string{"segment 3 is damaged", "SHA-256"}},
		"the nonce":            {func(s, _ *shelf, _ *datastores.BackupRef) { s.bodies[1][0] ^= 1 }, key, []string{"segment 1 is damaged"}},
		"truncated":            {func(s, _ *shelf, _ *datastores.BackupRef) { s.bodies[2] = s.bodies[2][:10] }, key, []string{"segment 2 is damaged", "10 of 1024 bytes"}},
		"empty":                {func(s, _ *shelf, _ *datastores.BackupRef) { s.bodies[2] = nil }, key, []string{"segment 2 is damaged", "0 of 1024"}},
		"longer":               {func(s, _ *shelf, _ *datastores.BackupRef) { s.bodies[2] = append(s.bodies[2], 0) }, key, []string{"segment 2 is damaged"}},
		"missing":              {func(s, _ *shelf, _ *datastores.BackupRef) { delete(s.bodies, 4) }, key, []string{"cannot read segment 4", "no such"}},
		"last missing":         {func(s, _ *shelf, ref *datastores.BackupRef) { delete(s.bodies, ref.Segments) }, key, []string{"cannot read segment 7"}},
		"swapped":              {func(s, _ *shelf, _ *datastores.BackupRef) { s.bodies[2], s.bodies[5] = s.bodies[5], s.bodies[2] }, key, []string{"segment 2 is damaged", "it is segment 5"}},
		"of another backup":    {func(s, o *shelf, _ *datastores.BackupRef) { s.bodies[6] = o.bodies[6] }, key, []string{"segment 6 is damaged"}},
		"index bit":            {func(s, _ *shelf, _ *datastores.BackupRef) { s.bodies[0][40] ^= 1 }, key, []string{"the index is damaged"}},
		"index missing":        {func(s, _ *shelf, _ *datastores.BackupRef) { delete(s.bodies, 0) }, key, []string{"cannot read the index"}},
		"all of another":       {func(s, o *shelf, _ *datastores.BackupRef) { s.bodies = o.bodies }, key, []string{"the index is damaged"}},
		"another key":          {func(*shelf, *shelf, *datastores.BackupRef) {}, bytes.Repeat([]byte{8}, keySize), []string{"cannot use the index", "key"}},
		"no key":               {func(*shelf, *shelf, *datastores.BackupRef) {}, nil, []string{"cannot use the index", "no key"}},
		"short key":            {func(*shelf, *shelf, *datastores.BackupRef) {}, key[:16], []string{"16 bytes, want 32"}},
		"fewer than announced": {func(_, _ *shelf, ref *datastores.BackupRef) { ref.Segments-- }, key, []string{"names 7 segments", "want 6"}},
		"shorter stream":       {func(_, _ *shelf, ref *datastores.BackupRef) { ref.Size-- }, key, []string{"want 7 and 6655"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, ref := stored(t, backup, key, data)
			foreign, _ := stored(t, another, key, data)
			c.damage(s, foreign, &ref)
			got, err := readAll(s, ref, c.key)
			if err == nil {
				t.Fatal("it was not noticed")
			}
			if !bytes.HasPrefix(data, got) {
				t.Error("what was read until then is not what was written")
			}
			for _, word := range append(c.says, "backup "+backup) {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%v: want a word of %q", err, word)
				}
			}
		})
	}
}

// With the SHA-256 of everything made to fit, the seal alone still knows each segment's place.
func TestSealKnowsItsPlace(t *testing.T) {
	s, err := newSeal(backup, key)
	if err != nil {
		t.Fatal(err)
	}
	sealed := s.close(3, []byte("something"))
	other, err := newSeal(another, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.open(3, bytes.Clone(sealed)); err == nil {
		t.Error("opened as another backup's")
	}
	if _, err := s.open(4, bytes.Clone(sealed)); err == nil {
		t.Error("opened as segment 4")
	}
	if plain, err := s.open(3, bytes.Clone(sealed)); err != nil || string(plain) != "something" {
		t.Errorf("%q, %v", plain, err)
	}
}

func TestUnsealed(t *testing.T) {
	data := noise(5 * small)
	s, ref := stored(t, backup, nil, data)
	if got, err := readAll(s, ref, nil); err != nil || !bytes.Equal(got, data) {
		t.Error(err)
	}
	s.bodies[2][3] ^= 1
	if _, err := readAll(s, ref, nil); err == nil || !strings.Contains(err.Error(), "segment 2 is damaged") {
		t.Error(err)
	}
	if _, err := readAll(s, ref, key); err == nil {
		t.Error("a backup that is not sealed was read with a key")
	}
}

// endless writes until its writer fails.
func endless(failed *error) func(io.Writer) error {
	return func(w io.Writer) error {
		part := noise(100)
		for *failed == nil {
			_, *failed = w.Write(part)
		}
		return fmt.Errorf("the tool: broken pipe") // what a tool makes of it
	}
}

func TestPutErrorEndsProduce(t *testing.T) {
	broken := errors.New("the disk is full")
	s := &shelf{put: func(_ context.Context, n int) error {
		if n == 3 {
			return broken
		}
		return nil
	}}
	var failed error
	_, err := write(context.Background(), s, backup, key, endless(&failed), small)
	if !errors.Is(err, broken) || !errors.Is(failed, broken) || !strings.Contains(err.Error(), "segment 3") {
		t.Errorf("Write: %v; its writer: %v", err, failed)
	}
	s.put = func(_ context.Context, n int) error {
		if n == 0 {
			return broken
		}
		return nil
	}
	if _, err := write(context.Background(), s, backup, key, produce(noise(small)), small); !errors.Is(err, broken) {
		t.Errorf("the index was not stored: %v", err)
	}
}

// A later segment may be stored before an earlier one: the index has them in their order.
func TestSegmentsOvertake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := noise(6 * small)
		second := make(chan struct{})
		s := &shelf{put: func(ctx context.Context, n int) error {
			switch n {
			case 1:
				<-second
			case 2:
				close(second)
			}
			return nil
		}}
		ref, err := write(context.Background(), s, backup, key, produce(data), small)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := readAll(s, ref, key); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes came back, want %d: %v", len(got), len(data), err)
		}
	})
}

// waits is a Put that ends with its context only.
func waits(ctx context.Context, _ int) error { <-ctx.Done(); return context.Cause(ctx) }

// A bubble of synctest ends only when every goroutine in it has: these tests find leaks.
func TestProduceErrorEndsPut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("the server went away")
		storing := false
		_, err := write(context.Background(), &shelf{put: func(ctx context.Context, n int) error {
			storing = true
			return waits(ctx, n)
		}}, backup, key, func(w io.Writer) error {
			_, err := w.Write(noise(400 << 10))
			synctest.Wait()
			return errors.Join(err, broken)
		}, 256<<10)
		if !errors.Is(err, broken) || !storing {
			t.Errorf("%v; a segment was being stored: %t", err, storing)
		}
	})
}

func TestCancelEndsWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(context.Background())
		var failed, err error
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, err = write(ctx, &shelf{put: waits}, backup, key, endless(&failed), small)
		}()
		synctest.Wait() // one segment is being stored, the next one is full
		gone := errors.New("nobody wants it any more")
		cancel(gone)
		<-ended
		if !errors.Is(err, gone) || !errors.Is(failed, gone) {
			t.Errorf("Write: %v; its writer: %v", err, failed)
		}
	})
}

// Of the segments in memory all are full when the writer stops: those that are being stored, and the next one.
func TestThreeSegmentsAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		var taken int
		done := make(chan struct{})
		c := newCutter(ctx, func(error) {}, &shelf{put: waits}, seal{}, small)
		for range inFlight {
			go c.store()
		}
		go func() {
			defer close(done)
			for err := error(nil); err == nil; {
				var n int
				n, err = c.Write(make([]byte, 1))
				taken += n
			}
		}()
		synctest.Wait()
		cancel()
		<-done
		close(c.full)
		if want := (inFlight + 1) * small; taken != want {
			t.Errorf("%d bytes were taken while nothing was stored, want %d", taken, want)
		}
	})
}

func TestReadsOneAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, ref := stored(t, backup, key, noise(400<<10))
		r, err := Open(context.Background(), s, ref, key)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !slices.Equal(s.gets, []int{0, 1}) {
			t.Errorf("segments %v were read before any Read", s.gets)
		}
		if _, err := r.Read(make([]byte, 10)); err != nil {
			t.Error(err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if _, err := r.Read(make([]byte, 10)); err == nil {
			t.Error("a closed stream was read")
		}
		if len(s.gets) > 200 {
			t.Errorf("%d segments of %d were read for 10 bytes", len(s.gets), ref.Segments)
		}
		if err := r.Close(); err != nil {
			t.Error("closed twice:", err)
		}
	})
}

func TestCancelEndsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, ref := stored(t, backup, key, noise(400<<10))
		ctx, cancel := context.WithCancelCause(context.Background())
		r, err := Open(ctx, s, ref, key)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		gone := errors.New("cancelled by the operator")
		cancel(gone)
		if _, err := io.Copy(io.Discard, r); !errors.Is(err, gone) {
			t.Errorf("%v", err)
		}
	})
}
