package stream

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/cofferdb/coffer/datastores"
)

// Parts of a log are segments, too, each by itself: a zstd stream of a line of JSON, which says what part it is, and of the bytes. It is
// sealed as segment n of the window, as that of a backup with its id. The same part makes segments that hold the same.

// MaxPart is how many bytes of a log a part may have: compressed and sealed they are no more than a segment.
const MaxPart = segmentSize - 64<<10

// PutPart stores a part of a log as segment n of a window, and returns how many bytes that took.
func PutPart(ctx context.Context, to Segments, id string, n int, key []byte, part datastores.LogPart) (int64, error) {
	s, err := newSeal(id, key)
	if err != nil {
		return 0, err
	}
	head, err := json.Marshal(part)
	if err != nil {
		return 0, err
	}
	var b bytes.Buffer
	_, err = compress(ctx, &b, func(w io.Writer) error {
		_, err := w.Write(append(head, '\n'))
		if err == nil {
			_, err = w.Write(part.Data)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	body := s.close(n, b.Bytes())
	return int64(len(body)), to.Put(ctx, n, body)
}

// GetPart reads segment n of a window.
func GetPart(ctx context.Context, from Segments, id string, n int, key []byte) (part datastores.LogPart, err error) {
	fail := func(err error) (datastores.LogPart, error) {
		return part, fmt.Errorf("part %d of the log %s: %w", n, id, err)
	}
	s, err := newSeal(id, key)
	if err != nil {
		return fail(err)
	}
	stored, err := from.Get(ctx, n)
	if err != nil {
		return fail(fmt.Errorf("cannot read it: %w", err))
	}
	packed, err := s.open(n, stored)
	if err != nil {
		return fail(err)
	}
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(window), zstd.WithDecoderMaxMemory(2*segmentSize))
	if err != nil {
		return fail(err)
	}
	defer z.Close()
	plain, err := z.DecodeAll(packed, nil)
	if err != nil {
		return fail(fmt.Errorf("cannot decompress it: %w", err))
	}
	head, data, found := bytes.Cut(plain, []byte("\n"))
	if err := json.Unmarshal(head, &part); err != nil || !found {
		return fail(fmt.Errorf("it does not say what it is"))
	}
	part.Data = data
	return part, nil
}
