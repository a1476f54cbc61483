package blobstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// S3Config says where a bucket is.
type S3Config struct {
	Endpoint  string // http or https URL, such as https://s3.example.com:9000
	Bucket    string
	Region    string // "": us-east-1
	Prefix    string // of all names, without a slash at its end; "": none
	AccessKey string
	SecretKey string
	// PathStyle asks for URLs with the bucket in the path instead of the host's name.
	PathStyle bool
	// Create makes the bucket when it is not there.
	Create bool
}

// signedFor is how long a pre-signed URL can be used: to begin with, not to end. It is followed at once; what is longer is for clocks
// that differ, and time for who would write to a backup that is complete.
const signedFor = 2 * time.Minute

// S3 is a [Store] in a bucket, and a [Presigner]. In a bucket with versions a deleted blob stays as an old version for as long
// as the bucket's rules say.
type S3 struct {
	client minio.Core
	bucket string
	prefix string
}

var _ Presigner = (*S3)(nil)

// OpenS3 connects to a bucket, which must exist, or may be made. ctx limits it.
func OpenS3(ctx context.Context, cfg S3Config) (*S3, error) {
	u, err := url.Parse(cfg.Endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" && u.Path != "/" || u.User != nil {
		return nil, errors.New("the S3 endpoint is no URL of a server; want such as https://s3.example.com") // it may hold a password
	}
	if cfg.Prefix != "" {
		if err := CheckName(cfg.Prefix); err != nil {
			return nil, fmt.Errorf("the S3 prefix: %w", err)
		}
		cfg.Prefix += "/"
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	lookup := minio.BucketLookupAuto
	if cfg.PathStyle {
		lookup = minio.BucketLookupPath
	}
	client, err := minio.NewCore(u.Host, &minio.Options{
		Creds: credentials.NewStaticV4(cfg.AccessKey, cfg.SecretKey, ""), Secure: u.Scheme == "https",
		Region: cfg.Region, BucketLookup: lookup, MaxRetries: 3,
	})
	if err != nil {
		return nil, fmt.Errorf("cannot use the S3 endpoint %s: %w", cfg.Endpoint, err)
	}
	s := &S3{client: *client, bucket: cfg.Bucket, prefix: cfg.Prefix}
	if err := s.ensure(ctx, cfg); err != nil {
		return nil, fmt.Errorf("cannot use bucket %q at %s: %w", cfg.Bucket, cfg.Endpoint, err)
	}
	return s, nil
}

// ensure looks for the bucket, and makes it when it may.
func (s *S3) ensure(ctx context.Context, cfg S3Config) error {
	there, err := s.client.BucketExists(ctx, s.bucket)
	switch {
	case err != nil || there:
		return err
	case !cfg.Create:
		return errors.New("there is none; make it, or let the gateway make it")
	}
	err = s.client.MakeBucket(ctx, s.bucket, minio.MakeBucketOptions{Region: cfg.Region})
	if code := minio.ToErrorResponse(err).Code; code == "BucketAlreadyOwnedByYou" {
		return nil // another gateway was faster
	}
	return err
}

// Put is [Store]'s.
func (s *S3) Put(ctx context.Context, name string, size int64, sha256 string, r io.Reader) error {
	if err := CheckName(name); err != nil {
		return err
	}
	from := newAnnounced(r, size, sha256)
	if size == 0 { // nothing would be read
		if _, err := from.Read(nil); err != io.EOF {
			return fmt.Errorf("cannot store %s: %w", name, err)
		}
	}
	put, err := s.client.Client.PutObject(ctx, s.bucket, s.prefix+name, from, size, minio.PutObjectOptions{
		ContentType: "application/octet-stream", DisableMultipart: true,
	})
	if err = errors.Join(from.failure(), ofS3(err), err); err != nil {
		return fmt.Errorf("cannot store %s: %w", name, err)
	}
	return s.stored(ctx, name, put)
}

// stored looks at a blob that the store says it has: a backup is COMPLETED on its word. Another blob may have come after it, and while that
// takes its place some stores tell the tag of one and the size of the other: what is wrong is looked at again.
func (s *S3) stored(ctx context.Context, name string, put minio.UploadInfo) error {
	for wait := 10 * time.Millisecond; ; wait *= 2 {
		info, err := s.client.StatObject(ctx, s.bucket, s.prefix+name, minio.StatObjectOptions{})
		switch {
		case err != nil:
			return fmt.Errorf("cannot see %s, which was stored: %w", name, errors.Join(ofS3(err), err))
		case info.ETag != put.ETag || info.Size == put.Size:
			return nil
		case wait > time.Second:
			return fmt.Errorf("the store has %d bytes of %s; want %d", info.Size, name, put.Size)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// ofS3 is what an answer of the server means for the store; nil: nothing in particular. A store that is full says so with 507,
// or with 403 and a word about its quota.
func ofS3(err error) error {
	answer := minio.ToErrorResponse(err)
	switch {
	case err == nil:
		return nil
	case answer.StatusCode == http.StatusInsufficientStorage, answer.Code == "QuotaExceeded":
		return ErrFull
	case answer.StatusCode == http.StatusForbidden, answer.Code == "NoSuchBucket":
		return ErrDenied
	}
	return nil
}

// Get is [Store]'s.
func (s *S3) Get(ctx context.Context, name string) (io.ReadCloser, int64, error) {
	if err := CheckName(name); err != nil {
		return nil, 0, err
	}
	body, info, _, err := s.client.GetObject(ctx, s.bucket, s.prefix+name, minio.GetObjectOptions{})
	switch {
	case err == nil:
		return body, info.Size, nil
	case minio.ToErrorResponse(err).Code == "NoSuchKey":
		return nil, 0, fmt.Errorf("%s: %w", name, ErrNotFound)
	}
	return nil, 0, fmt.Errorf("cannot read %s: %w", name, errors.Join(ofS3(err), err))
}

// Delete is [Store]'s.
func (s *S3) Delete(ctx context.Context, name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if err := s.client.RemoveObject(ctx, s.bucket, s.prefix+name, minio.RemoveObjectOptions{}); err != nil {
		return fmt.Errorf("cannot delete %s: %w", name, err)
	}
	return nil
}

// DeleteAll is [Store]'s.
func (s *S3) DeleteAll(ctx context.Context, prefix string) error {
	if err := CheckName(prefix); err != nil {
		return err
	}
	var listing error
	results, err := s.client.RemoveObjectsWithIter(ctx, s.bucket, s.below(ctx, prefix, &listing), minio.RemoveObjectsOptions{})
	if err == nil {
		for r := range results {
			err = errors.Join(err, r.Err)
		}
	}
	if err = errors.Join(err, listing); err != nil {
		return fmt.Errorf("cannot delete what is below %s: %w", prefix, err)
	}
	return nil
}

// below lists the blobs of a prefix, up to the first error.
func (s *S3) below(ctx context.Context, prefix string, failed *error) iter.Seq[minio.ObjectInfo] {
	return func(yield func(minio.ObjectInfo) bool) {
		for o := range s.client.ListObjectsIter(ctx, s.bucket, minio.ListObjectsOptions{Prefix: s.prefix + prefix + "/", Recursive: true}) {
			if o.Err != nil {
				*failed = o.Err
				return
			}
			if !yield(o) {
				return
			}
		}
	}
}

// PresignPut is [Presigner]'s.
func (s *S3) PresignPut(ctx context.Context, name string, size int64) (string, error) {
	return s.presign(ctx, http.MethodPut, name, http.Header{"Content-Length": {strconv.FormatInt(size, 10)}})
}

// PresignGet is [Presigner]'s.
func (s *S3) PresignGet(ctx context.Context, name string) (string, error) {
	return s.presign(ctx, http.MethodGet, name, nil)
}

func (s *S3) presign(ctx context.Context, method, name string, headers http.Header) (string, error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	u, err := s.client.PresignHeader(ctx, method, s.bucket, s.prefix+name, signedFor, nil, headers)
	if err != nil {
		return "", fmt.Errorf("cannot make a URL for %s: %w", name, err)
	}
	return u.String(), nil
}
