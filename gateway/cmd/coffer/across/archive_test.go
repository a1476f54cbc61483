package across

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
)

func newKey(t *testing.T) *age.X25519Identity {
	t.Helper()
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// make3 makes a file of three backups, and returns what each holds.
func make3(t *testing.T, name string, to age.Recipient) (items []dbext.ExportItem, held [][]byte) {
	t.Helper()
	for n := range 3 {
		items = append(items, dbext.ExportItem{ID: fmt.Sprint(n), Name: fmt.Sprintf("b%d", n), RestoreFrom: dbext.RestoreFrom{Datastore: "memory", Version: "1", Size: 1}})
		held = append(held, bytes.Repeat([]byte{byte('a' + n), 7}, 60_000*n)) // the first one holds nothing
	}
	w, err := Create(name, items, to)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range held {
		if err := w.Part(int64(len(one)), bytes.NewReader(one)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Lstat(name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file has its name before it is whole: %v", err)
	}
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	w.Abandon() // which changes nothing any more
	return items, held
}

// readAll reads all that a file has.
func readAll(b []byte, as age.Identity) (held [][]byte, err error) {
	a, err := Open(bytes.NewReader(b), int64(len(b)), as)
	if err != nil {
		return nil, err
	}
	for n := range a.Backups {
		r, size := a.Part(n)
		one, err := io.ReadAll(r)
		if err == nil && int64(len(one)) != size {
			err = fmt.Errorf("%d bytes of %d", len(one), size)
		}
		if err != nil {
			return nil, err
		}
		held = append(held, one)
	}
	return held, nil
}

func TestArchive(t *testing.T) {
	key, name := newKey(t), filepath.Join(t.TempDir(), "x.backup")
	_, held := make3(t, name, key.Recipient())
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if left, _ := os.ReadDir(filepath.Dir(name)); len(left) != 1 {
		t.Errorf("beside the file: %v", left)
	}
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	got, err := readAll(whole, key)
	if err != nil {
		t.Fatal(err)
	}
	for n, one := range held {
		if !bytes.Equal(one, got[n]) {
			t.Errorf("part %d is another one", n)
		}
	}
	for cut := 0; cut < len(whole); cut += 1 + len(whole)/97 {
		if _, err := readAll(whole[:cut], key); err == nil {
			t.Errorf("cut after %d of %d bytes it is read", cut, len(whole))
		}
	}
	if _, err := readAll(append(bytes.Clone(whole), 0), key); err == nil {
		t.Error("with a byte more it is read")
	}
	for at := 0; at < len(whole); at += 1 + len(whole)/97 {
		whole[at] ^= 4
		if _, err := readAll(whole, key); err == nil {
			t.Errorf("with byte %d of %d changed it is read", at, len(whole))
		}
		whole[at] ^= 4
	}
}

// TestArchiveIsRefused: what is wrong with a file is said so that a person knows what to do.
func TestArchiveIsRefused(t *testing.T) {
	key, name := newKey(t), filepath.Join(t.TempDir(), "x.backup")
	make3(t, name, key.Recipient())
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	locked, err := age.NewScryptRecipient("correct horse")
	if err != nil {
		t.Fatal(err)
	}
	locked.SetWorkFactor(10)
	wrong, err := age.NewScryptIdentity("wrong horse")
	if err != nil {
		t.Fatal(err)
	}
	sealed := func(to age.Recipient, file, text string) []byte {
		var b bytes.Buffer
		s, err := age.Encrypt(&b, to)
		if err != nil {
			t.Fatal(err)
		}
		w := tar.NewWriter(s)
		err = errors.Join(w.WriteHeader(&tar.Header{Name: file, Size: int64(len(text)), Mode: 0o600}))
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		if err := errors.Join(err, w.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for why, bad := range map[string]struct {
		file []byte
		as   age.Identity
		say  string
	}{
		"nothing":           {nil, key, "it is no file that `coffer backup export` has made"},
		"no file of ours":   {bytes.Repeat([]byte("-- dump\n"), 99), key, "it is no file that"},
		"another's key":     {whole, newKey(t), "is not that key's"},
		"a passphrase":      {whole, wrong, "it is sealed to a public key"},
		"wrong passphrase":  {sealed(locked, "x", ""), wrong, "it is sealed with a passphrase, and this is not the one"},
		"cut":               {whole[:len(whole)-9], key, "was cut"},
		"another's content": {sealed(key.Recipient(), "photo.jpg", "x"), key, "no manifest"},
		"another format":    {sealed(key.Recipient(), manifestName, `{"format":"zip","version":1}`), key, "another one's"},
		"another version":   {sealed(key.Recipient(), manifestName, `{"format":"coffer-backup-export","version":2}`), key, "version 2 of the format, and this program reads version 1"},
		"no backups":        {sealed(key.Recipient(), manifestName, `{"format":"coffer-backup-export","version":1}`), key, "0 backups"},
		"no content":        {sealed(key.Recipient(), manifestName, `{"format":"coffer-backup-export","version":1,"backups":[{}]}`), key, "backup 1 of 1"},
	} {
		if _, err := Open(bytes.NewReader(bad.file), int64(len(bad.file)), bad.as); err == nil || !strings.Contains(err.Error(), bad.say) {
			t.Errorf("%s: %v, want %q", why, err, bad.say)
		}
	}
}

// TestHalfAFile: what does not come to its end leaves nothing, and what is there is not overwritten.
func TestHalfAFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "x.backup")
	w, err := Create(name, nil, newKey(t).Recipient())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Part(9, strings.NewReader("short")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
	w.Abandon()
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
	w, err = Create(name, nil, newKey(t).Recipient())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abandon()
	if err := os.WriteFile(name, []byte("another's"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.Finish(); err == nil {
		t.Error("a file that came meanwhile is overwritten")
	}
	if _, err := Create(name, nil, newKey(t).Recipient()); err == nil {
		t.Error("a file that was there is begun")
	}
}

func TestKeys(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	public, err := NewKey(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewKey(file); err == nil {
		t.Error("a key is overwritten")
	}
	if to, err := (Keys{Recipients: []string{public, newKey(t).Recipient().String()}}).Seal(); err != nil || len(to) != 2 {
		t.Errorf("%v, %v", to, err)
	}
	if as, err := (Keys{IdentityFile: file}).Open(); err != nil || len(as) != 1 {
		t.Errorf("%v, %v", as, err)
	}
	if _, err := (Keys{Recipients: []string{"ssh-ed25519 AAAA"}}).Seal(); err == nil {
		t.Error("a key of another kind is taken")
	}
	said := filepath.Join(t.TempDir(), "passphrase")
	for text, good := range map[string]bool{"": false, "\n": false, "short\n": false, "correct horse battery\r\n": true} {
		if err := os.WriteFile(said, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := (Keys{PassphraseFile: said}).Seal(); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
		if _, err := (Keys{PassphraseFile: said, Recipients: []string{public}}).Seal(); err == nil {
			t.Error("both are taken")
		}
	}
	secret, _ := os.ReadFile(file)
	if _, err := (Keys{IdentityFile: said}).Open(); err == nil || strings.Contains(err.Error(), "correct horse") || !strings.Contains(string(secret), "AGE-SECRET-KEY-1") {
		t.Errorf("%v", err)
	}
}
