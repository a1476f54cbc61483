package stream_test

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/cofferdb/coffer/datastores/guest/stream"
)

// memory is where the segments of one backup are, instead of a gateway.
type memory map[int][]byte

func (m memory) Put(_ context.Context, n int, body []byte) error {
	m[n] = append([]byte(nil), body...)
	return nil
}

func (m memory) Get(_ context.Context, n int) ([]byte, error) {
	return append([]byte(nil), m[n]...), nil
}

func Example() {
	ctx, segments := context.Background(), memory{}
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
