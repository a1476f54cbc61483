package blobstore_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/cofferdb/coffer/gateway/blobstore"
)

func Example() {
	dir, err := os.MkdirTemp("", "blobs")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	store, err := blobstore.OpenDir(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()

	ctx, text := context.Background(), "a segment"
	sum := sha256.Sum256([]byte(text))
	name := "backups/shop/0198c0de-0000-7000-8000-000000000001/00000001"
	fmt.Println(store.Put(ctx, name, int64(len(text)), hex.EncodeToString(sum[:]), strings.NewReader(text)))
	fmt.Println(errors.Is(store.Put(ctx, name, 3, hex.EncodeToString(sum[:]), strings.NewReader("no!")), blobstore.ErrDamaged))
	blob, size, err := store.Get(ctx, name)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer blob.Close()
	got, err := io.ReadAll(blob)
	fmt.Println(size, string(got), err)
	// Output:
	// <nil>
	// true
	// 9 a segment <nil>
}
