package across_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/klauspost/compress/zstd"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/across"
	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
)

func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstded(t *testing.T, data []byte) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return z.EncodeAll(data, nil)
}

func tarred(t *testing.T, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range files {
		text := "in " + name
		if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(text)), Mode: 0o600, Format: tar.FormatUSTAR}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestPlain has what a tool wrote become a backup, and an instance, in whatever way it comes.
func TestPlain(t *testing.T) {
	i := install(t)
	id := i.client.Create(t, "db", `,"databases":[{"name":"orders"}],"users":[{"name":"bob","password":"s3cret","databases":[{"name":"orders"}]}]`)
	at := i.client.Await(t, id, "ACTIVE", soon).Text("instance", "ip", 0)
	if _, err := i.host.Memory.Write(t.Context(), login(at), 0, 70); err != nil {
		t.Fatal(err)
	}
	stream := i.stream(t, id)
	dir := t.TempDir()
	wish := across.Wish{Name: "in", Datastore: "memory", Version: "1"}
	const tool = "memory-copy"
	for name, file := range map[string]string{
		"plain": write(t, dir+"/plain", stream), "gzip": write(t, dir+"/gzip", gzipped(t, stream)), "zstd": write(t, dir+"/zstd", zstded(t, stream)), "stdin": "-",
	} {
		p, err := across.OpenPlain(tool, file, bytes.NewReader(gzipped(t, stream)))
		if err != nil {
			t.Fatal(err)
		}
		size, n := 0.1, int64(0)
		if !p.Once() {
			size = 0
			if n, err = p.Measure(quiet); err != nil || n != int64(len(stream)) {
				t.Errorf("%s: measured as %d bytes of %d, %v", name, n, len(stream), err)
			}
		}
		b, err := p.Import(t.Context(), i.api, wish, size, n, quiet)
		if err != nil || b.Status != "COMPLETED" {
			t.Fatalf("%s: %+v, %v", name, b, err)
		}
		copied := i.client.Want(t, 200, http.MethodPost, "/instances", fmt.Sprintf(
			`{"instance":{"name":%q,"flavorRef":1,"volume":{"size":1},"restorePoint":{"backupRef":%q}}}`, name, b.ID)).Text("instance", "id")
		at := i.client.Await(t, copied, "ACTIVE", soon).Text("instance", "ip", 0)
		if n, _, err := i.host.Memory.Digest(t.Context(), login(at)); n != 70 || err != nil {
			t.Errorf("%s: %d items, want 70 (err %v)", name, n, err)
		}
	}
	before := len(i.backups(t))
	for name, bad := range map[string]struct {
		tool, file string
		say        string
	}{
		"no such tool": {"pg_basebackup", write(t, dir+"/tar", tarred(t, "PG_VERSION")), `takes no backups of the tool "pg_basebackup"; it takes: memory-copy`},
		"no xbstream":  {"mariadb-backup", dir + "/plain", "is no output of mariadb-backup"},
		"no tar":       {"pg_basebackup", dir + "/zstd", "is no output of pg_basebackup"},
		"cut gzip":     {tool, write(t, dir+"/cut", gzipped(t, stream)[:len(gzipped(t, stream))-20]), "unexpected EOF"},
		"cut zstd":     {tool, write(t, dir+"/cutz", zstded(t, stream)[:len(zstded(t, stream))-20]), ""},
	} {
		p, err := across.OpenPlain(bad.tool, bad.file, nil)
		if err == nil {
			_, err = p.Import(t.Context(), i.api, wish, 1, 0, quiet)
		}
		said := fmt.Sprint(err)
		if answer := (gophercloud.ErrUnexpectedResponseCode{}); errors.As(err, &answer) {
			said = strings.ReplaceAll(string(answer.Body), `\"`, `"`)
		}
		if err == nil || !strings.Contains(said, bad.say) {
			t.Errorf("%s: %s, want %q", name, said, bad.say)
		}
	}
	gone(t, i, before)
}

// stream makes a backup of an instance, and returns it as the engine wrote it.
func (i installation) stream(t *testing.T, instance string) []byte {
	t.Helper()
	b, err := dbext.CreateBackup(t.Context(), i.api, dbext.BackupOpts{Name: "b", Instance: instance})
	for err == nil && b.Running() {
		b, err = dbext.GetBackup(t.Context(), i.api, b.ID)
	}
	if err != nil || b.Status != "COMPLETED" {
		t.Fatalf("%+v, %v", b, err)
	}
	content, _, err := dbext.ReadContent(t.Context(), i.api, b.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	z, err := zstd.NewReader(content)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	stream, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// TestTwoTars: what pg_basebackup writes into a directory becomes one tar, the log where the server looks for it.
func TestTwoTars(t *testing.T) {
	i, dir := install(t), t.TempDir()
	write(t, filepath.Join(dir, "base.tar.gz"), gzipped(t, tarred(t, "PG_VERSION", "backup_label")))
	write(t, filepath.Join(dir, "backup_manifest"), []byte("{}"))
	if _, err := across.OpenPlain("pg_basebackup", dir, nil); err == nil || !strings.Contains(err.Error(), "without base.tar and pg_wal.tar") {
		t.Errorf("without its log: %v", err)
	}
	write(t, filepath.Join(dir, "pg_wal.tar"), tarred(t, "000000010000000000000002"))
	p, err := across.OpenPlain("memory-copy", dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	n, err := p.Measure(quiet)
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.Import(t.Context(), i.api, across.Wish{Name: "in", Datastore: "memory", Version: "1"}, 0, n, quiet)
	if err != nil {
		t.Fatal(err)
	}
	content, _, err := dbext.ReadContent(t.Context(), i.api, b.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	z, err := zstd.NewReader(content)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	var found []string
	for r := tar.NewReader(z); ; {
		header, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		found = append(found, fmt.Sprint(header.Name, ": ", string(text), err))
	}
	want := "PG_VERSION: in PG_VERSION<nil> backup_label: in backup_label<nil> pg_wal/000000010000000000000002: in 000000010000000000000002<nil>"
	if got := strings.Join(found, " "); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	write(t, filepath.Join(dir, "16384.tar"), tarred(t, "x"))
	if _, err := across.OpenPlain("pg_basebackup", dir, nil); err == nil || !strings.Contains(err.Error(), "tablespaces") {
		t.Errorf("with a tablespace: %v", err)
	}
}
