package host

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/cofferdb/coffer/deployments"
)

// trust says which guest binaries may run, as root: those that nobody but root could have put there, and, where there are keys, that one
// of them has signed.
type trust struct {
	keys []ed25519.PublicKey // none: a signature is not asked for
}

// owned returns an error when others than root, or the host's own user, may write the file or change any directory above it. A link's
// target counts, as does the link.
func (t trust) owned(path string) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	for _, p := range []string{path, real} {
		for ; ; p = filepath.Dir(p) {
			if err := ownedAlone(p); err != nil {
				return err
			}
			if p == filepath.Dir(p) {
				break
			}
		}
	}
	return nil
}

func ownedAlone(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s does not belong to root: chown it, or whoever has it is root here", path)
	}
	sticky := info.IsDir() && info.Mode()&fs.ModeSticky != 0 // what is root's in there, others cannot replace
	if info.Mode()&fs.ModeSymlink == 0 && info.Mode().Perm()&0o022 != 0 && !sticky {
		return fmt.Errorf("others than its owner may write %s (mode %04o): chmod go-w it", path, info.Mode().Perm())
	}
	return nil
}

// signed returns an error unless the binary with that digest has a signature beside its file, when one is asked for.
func (t trust) signed(path, manager, digest string) error {
	if len(t.keys) == 0 {
		return nil
	}
	f, err := os.Open(path + deployments.SignatureSuffix)
	if err != nil {
		return fmt.Errorf("the guest binary is not signed: %w", err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, 1<<10))
	if err != nil {
		return err
	}
	return deployments.VerifyGuest(t.keys, manager, digest, string(text))
}

// admit returns a binary's digest, or why it may not run.
func (t trust) admit(path, manager string) (digest string, err error) {
	if err := t.owned(path); err != nil {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	digest = hex.EncodeToString(sum.Sum(nil))
	return digest, t.signed(path, manager, digest)
}
