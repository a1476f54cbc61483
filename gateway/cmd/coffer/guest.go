package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cofferdb/coffer/deployments"
)

// guestCommands sign guest binaries, for hosts that run no others.
func (a *app) guestCommands() *cobra.Command {
	var keyFile, public string
	create := simple("key FILE", "Make a key that signs guest binaries, in a new file, and print its public half for coffer-host -guest-key", func(_ *cobra.Command, args []string) error {
		key, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			return err
		}
		f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = f.WriteString(base64.StdEncoding.EncodeToString(private.Seed()) + "\n")
		if closed := f.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(a.out, base64.StdEncoding.EncodeToString(key))
		return err
	})
	sign := simple("sign BINARY", "Write the signature of a guest binary beside it", func(_ *cobra.Command, args []string) error {
		private, err := readGuestKey(keyFile)
		if err != nil {
			return err
		}
		manager, digest, err := guestDigest(args[0])
		if err != nil {
			return err
		}
		return os.WriteFile(args[0]+deployments.SignatureSuffix, []byte(deployments.SignGuest(private, manager, digest)), 0o644)
	})
	sign.Flags().StringVar(&keyFile, "key-file", "", "file of the private key")
	_ = sign.MarkFlagRequired("key-file")
	verify := simple("verify BINARY", "Hold the signature beside a guest binary against a public key", func(_ *cobra.Command, args []string) error {
		key, err := deployments.ParseGuestKey(public)
		if err != nil {
			return usagef("%v", err)
		}
		manager, digest, err := guestDigest(args[0])
		if err != nil {
			return err
		}
		text, err := os.ReadFile(args[0] + deployments.SignatureSuffix)
		if err != nil {
			return err
		}
		if err := deployments.VerifyGuest([]ed25519.PublicKey{key}, manager, digest, string(text)); err != nil {
			return err
		}
		return a.done(nil, "%s is signed: sha256 %s", args[0], digest)
	})
	verify.Flags().StringVar(&public, "key", "", "the public key")
	_ = verify.MarkFlagRequired("key")
	return group("guest", "Guest binaries and their signatures", create, sign, verify)
}

func readGuestKey(path string) (ed25519.PrivateKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	seed, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("%s is no private key: coffer guest key makes one", path)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// guestDigest is the manager of a guest binary, by its name, and its SHA-256.
func guestDigest(path string) (manager, digest string, err error) {
	manager, ok := strings.CutSuffix(filepath.Base(path), "-guest")
	if !ok || manager == "" {
		return "", "", usagef("%s: a guest binary is named <manager>-guest", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", "", err
	}
	defer func() { _ = f.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", "", err
	}
	return manager, hex.EncodeToString(sum.Sum(nil)), nil
}
