package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/cofferdb/coffer/gateway"
	"github.com/cofferdb/coffer/gateway/blobstore"
	"github.com/cofferdb/coffer/gateway/blobstore/blobstoretest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

const s3Bucket = "backups"

// objects looks into the bucket past the gateway.
type objects struct{ *minio.Client }

// s3 is a bucket on a real server, and a look into it.
func s3(t *testing.T) (*blobstore.S3, objects) {
	t.Helper()
	server := blobstoretest.S3(t)
	store, err := blobstore.OpenS3(t.Context(), blobstore.S3Config{
		Endpoint: server.Endpoint, Bucket: s3Bucket, Prefix: "here", AccessKey: server.AccessKey, SecretKey: server.SecretKey, PathStyle: true, Create: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	client, err := minio.New(strings.TrimPrefix(server.Endpoint, "http://"), &minio.Options{
		Creds: credentials.NewStaticV4(server.AccessKey, server.SecretKey, ""), BucketLookup: minio.BucketLookupPath,
	})
	if err != nil {
		t.Fatal(err)
	}
	return store, objects{client}
}

func (o objects) names(t *testing.T) (all []string) {
	t.Helper()
	for info := range o.ListObjectsIter(t.Context(), s3Bucket, minio.ListObjectsOptions{Recursive: true}) {
		if info.Err != nil {
			t.Fatal(info.Err)
		}
		all = append(all, info.Key)
	}
	return all
}

// damage changes a byte of an object.
func (o objects) damage(t *testing.T, name string) {
	t.Helper()
	r, err := o.GetObject(t.Context(), s3Bucket, name, minio.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	body, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	body[len(body)/2] ^= 1
	if _, err := o.PutObject(t.Context(), s3Bucket, name, bytes.NewReader(body), int64(len(body)), minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
}

// urlsOnly is a store to which the gateway can send others, but through which it gets no byte itself.
type urlsOnly struct{ *blobstore.S3 }

var errURLsOnly = errors.New("the gateway moved bytes itself")

func (urlsOnly) Put(context.Context, string, int64, string, io.Reader) error { return errURLsOnly }

func (urlsOnly) Get(context.Context, string) (io.ReadCloser, int64, error) {
	return nil, 0, errURLsOnly
}

// hidden is a store to which nobody can be sent.
type hidden struct{ blobstore.Store }

// TestBackupInS3 has backups in a bucket: by way of the gateway, and with the guest sent to the S3 server.
func TestBackupInS3(t *testing.T) {
	for name, presign := range map[string]bool{"through the gateway": false, "with URLs": true} {
		t.Run(name, func(t *testing.T) {
			store, bucket := s3(t)
			_, g, host := start(t, func(c *gateway.Config) {
				c.PresignBlobs = presign
				if c.Blobs = (hidden{store}); presign {
					c.Blobs = urlsOnly{store}
				}
			})
			c := g.Client(gatewaytest.Member)
			id := c.Create(t, "db", tenant)
			address := c.Await(t, id, "ACTIVE", soon).Text("instance", "ip", 0)
			backup := func(from, to int, more string) string {
				t.Helper()
				if _, err := host.Memory.Write(t.Context(), login(address), from, to); err != nil {
					t.Fatal(err)
				}
				a := backUp(t, c, id, more)
				if a.Text("backup", "status") != "COMPLETED" {
					t.Fatalf("the backup: %s", a.Body)
				}
				return a.Text("backup", "id")
			}
			restored := func(backup string) string {
				t.Helper()
				return c.Create(t, "copy", fmt.Sprintf(`,"restorePoint":{"backupRef":%q}`, backup))
			}
			full := backup(0, 5000, "")
			incremental := backup(5000, 6000, `,"incremental":1`)
			names := bucket.names(t)
			for _, backup := range []string{full, incremental} {
				if all := strings.Join(names, "\n"); !strings.Contains(all, "/"+backup+"/00000001") {
					t.Errorf("no segment of %s is in the bucket:\n%s", backup, all)
				}
			}
			wantN, wantDigest, err := host.Memory.Digest(t.Context(), login(address))
			if err != nil {
				t.Fatal(err)
			}
			at := c.Await(t, restored(incremental), "ACTIVE", soon).Text("instance", "ip", 0)
			if n, digest, err := host.Memory.Digest(t.Context(), login(at)); n != wantN || digest != wantDigest || err != nil {
				t.Errorf("the copy has %d items, digest %s, want %d, %s (err %v)", n, digest, wantN, wantDigest, err)
			}

			for _, name := range names {
				if strings.HasSuffix(name, full+"/00000001") {
					bucket.damage(t, name)
				}
			}
			fault := c.Await(t, restored(incremental), "ERROR", soon).Text("instance", "fault", "message")
			if !strings.Contains(fault, full) || !strings.Contains(fault, "segment 1") {
				t.Errorf("the fault does not name the damaged segment: %q", fault)
			}

			c.Want(t, 202, http.MethodDelete, "/backups/"+full, "")
			waitFor(t, func() bool { return len(bucket.names(t)) == 0 })
		})
	}
}
