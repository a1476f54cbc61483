package stream_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/cofferdb/coffer/datastores/guest/stream"
)

// memory is where the segments of one backup are, instead of a gateway.
type memory struct {
	mu     sync.Mutex
	bodies map[int][]byte
}

func (m *memory) Put(_ context.Context, n int, body []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bodies[n] = bytes.Clone(body)
	return nil
}

func (m *memory) Get(_ context.Context, n int) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.bodies[n]), nil
}

func Example() {
	ctx, segments := context.Background(), &memory{bodies: map[int][]byte{}}
	key := make([]byte, 32) // the project's, of random bytes
	ref, err := stream.Write(ctx, segments, "0198c0de-0000-7000-8000-000000000001", key, func(w io.Writer) error {
		_, err := io.WriteString(w, strings.Repeat("INSERT INTO shop VALUES (1);\n", 100_000))
		return err
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(ref.Size, "bytes,", ref.Segments, "segment, smaller:", ref.Stored < ref.Size/100)

	r, err := stream.Open(ctx, segments, ref, key)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	fmt.Println(len(text), err)
	// Output:
	// 2900000 bytes, 1 segment, smaller: true
	// 2900000 <nil>
}
