// Package blobstore keeps what is too large for etcd: the segments of backups and the chunks of published logs, as bytes
// under names. A directory ([Dir]) is the default; [S3] is any store that speaks its protocol.
package blobstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
)

// Store keeps blobs. A blob is written in one piece and never changed, only replaced or deleted. Names are slash-separated,
// see [CheckName]; every method refuses another before it does anything. No blob may have the name of another with a slash
// and more behind it. A Store must be safe for concurrent use.
type Store interface {
	// Put stores what r holds under a name, in place of what is there: a reader sees the old blob or the new one, never a
	// part. r must hold exactly size bytes with that SHA-256, in hexadecimal digits: otherwise the error is [ErrDamaged],
	// an error of r is returned wrapped, and in both cases everything is as before. When Put returns nil the blob
	// survives a power cut, as far as the store can promise that. [ErrFull] and [ErrDenied] say that another try is of no use.
	Put(ctx context.Context, name string, size int64, sha256 string, r io.Reader) error
	// Get returns a blob and its size, or [ErrNotFound]. The caller must close it. ctx is for the reading, too. What it
	// reads is not checked: who needs that knows the SHA-256.
	Get(ctx context.Context, name string) (io.ReadCloser, int64, error)
	// Delete deletes a blob. That there is none is no error.
	Delete(ctx context.Context, name string) error
	// DeleteAll deletes every blob whose name begins with the prefix and a slash. That there is none is no error. After an
	// error some may be left; it may be called again.
	DeleteAll(ctx context.Context, prefix string) error
}

// Presigner is implemented by a [Store] to which others can be sent, with a URL that is good for one blob and a short
// time. What is written so is not checked against a SHA-256 by the store.
type Presigner interface {
	// PresignPut returns a URL that takes a PUT of exactly size bytes.
	PresignPut(ctx context.Context, name string, size int64) (string, error)
	// PresignGet returns a URL that answers a GET; 404 when there is no such blob.
	PresignGet(ctx context.Context, name string) (string, error)
}

var (
	// ErrNotFound is returned by Get when there is no such blob.
	ErrNotFound = errors.New("there is no such blob")
	// ErrDamaged is returned by Put when the bytes are not those that were announced.
	ErrDamaged = errors.New("the bytes are not those that were announced")
	// ErrFull is returned by Put when the store has no space left, or its quota is used up.
	ErrFull = errors.New("there is no space left in the store")
	// ErrDenied is returned when the store does not let the gateway in, or is not there: its operator must see to it.
	ErrDenied = errors.New("the store denies access")
)

// maxName is less than what any file system or object store takes.
const maxName = 512

var safeName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,127})*$`)

// CheckName returns an error unless name can be a blob's: parts of 1 to 128 of A-Z a-z 0-9 . _ -, none of which begins with
// a dot, joined by slashes, 512 characters together.
func CheckName(name string) error {
	if len(name) > maxName || !safeName.MatchString(name) {
		return fmt.Errorf("%q cannot be a blob's name; want parts of A-Z a-z 0-9 . _ - that do not begin with a dot, joined by slashes", name)
	}
	return nil
}
