package stream

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
)

// dump looks like the dump of a table.
func dump(size int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "INSERT INTO orders VALUES (%d,'customer %d','%016x',%d.%02d);\n", i, r.IntN(5000), r.Uint64(), r.IntN(1000), r.IntN(100))
	}
	return b.Bytes()[:size]
}

// bench is the size of the stream of a benchmark.
const bench = 128 << 20

// keeper is a Segments that copies, but only once.
type keeper struct {
	mu     sync.Mutex
	bodies map[int][]byte
}

func newKeeper() *keeper { return &keeper{bodies: map[int][]byte{}} }

func (k *keeper) Put(_ context.Context, n int, body []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.bodies[n] = append(k.bodies[n][:0], body...)
	return nil
}

func (k *keeper) Get(_ context.Context, n int) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return bytes.Clone(k.bodies[n]), nil
}

// allocated is what a run has allocated, in MB for all of it: the memory held at any moment is far less.
func allocated(b *testing.B, run func()) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	run()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(b.N)/1e6, "MB-allocated/op")
}

func BenchmarkWrite(b *testing.B) {
	block := dump(8 << 20)
	k := newKeeper()
	var stored int64
	b.SetBytes(bench)
	allocated(b, func() {
		for b.Loop() {
			ref, err := Write(context.Background(), k, backup, key, func(w io.Writer) error {
				for range bench / len(block) {
					if _, err := w.Write(block); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
			stored = ref.Stored
		}
	})
	b.ReportMetric(float64(bench)/float64(stored), "ratio")
}

func BenchmarkOpen(b *testing.B) {
	block := dump(8 << 20)
	k := newKeeper()
	ref, err := Write(context.Background(), k, backup, key, func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(bytes.Repeat(block, bench/len(block))))
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(bench)
	allocated(b, func() {
		for b.Loop() {
			r, err := Open(context.Background(), k, ref, key)
			if err != nil {
				b.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, r); err != nil || n != bench {
				b.Fatal(n, err)
			}
			_ = r.Close()
		}
	})
}
