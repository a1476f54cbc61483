package host

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/datastores/service"
)

// TestSandboxInAnImage: an instance runs in the machine's own system, then in an image of another release, and back. The volume
// stays.
func TestSandboxInAnImage(t *testing.T) {
	needRoot(t)
	h := newSandboxHost(t)
	h.images.dir = cmp.Or(os.Getenv("COFFER_IMAGES"), "/var/cache/coffer/images")
	datastoretest.Require(t, filepath.Join(h.images.dir, "debian-13"), "the image debian-13: task image")
	args := boxRequest(h, 0)
	args.Manager, args.Packages = "asked", []string{"base-files"}
	release := func(tree string) string { return strings.TrimSpace(read(t, filepath.Join(tree, "etc/debian_version"))) }
	own, other := release("/"), release(filepath.Join(h.images.dir, "debian-13"))
	inst, _ := launch(t, h, args)
	if got := inside(t, inst, 0, "touch /var/lib/fake/kept; cat /etc/debian_version"); got != own {
		t.Fatalf("the release inside is %q, want %q", got, own)
	}
	for _, c := range []struct{ image, release string }{{"debian-13", other}, {"debian-13", other}, {"", own}} {
		args.Image = c.image
		launch(t, h, args)
		if got := inside(t, inst, 0, "cat /etc/debian_version; ls /var/lib/fake"); !strings.HasPrefix(got, c.release+"\n") || !strings.Contains(got, "kept") {
			t.Errorf("in image %q: %q, want release %s and the file kept", c.image, got, c.release)
		}
	}
	box := initPID(t, inst)
	launch(t, h, args)
	if initPID(t, inst) != box {
		t.Error("a launch that changes nothing started the sandbox anew")
	}
	args.Image = "no-such"
	if _, err := h.Launch(t.Context(), args); err == nil || !strings.Contains(err.Error(), `no image "no-such"`) {
		t.Errorf("launched in an image that is not there: %v", err)
	}
	if names, notes := h.images.names(); !slices.Contains(names, "debian-13") || len(notes) > 0 {
		t.Errorf("images %v, notes %v", names, notes)
	}
}

// TestImagesAreRoots: a tree that others may write, or that is not whole, is not offered.
func TestImagesAreRoots(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	for name, spoil := range map[string]func(tree string) error{
		"good":     func(string) error { return nil },
		"writable": func(tree string) error { return os.Chmod(tree, 0o777) },
		"others":   func(tree string) error { return os.Lchown(filepath.Join(tree, "usr"), 4711, 0) },
		"half":     func(tree string) error { return os.Remove(filepath.Join(tree, "etc/hosts")) },
		"link": func(tree string) error {
			usr := filepath.Join(tree, "usr")
			return cmp.Or(os.Remove(usr), os.Symlink("/usr", usr))
		},
	} {
		tree := filepath.Join(dir, name)
		for _, d := range []string{"usr", "etc"} {
			if err := os.MkdirAll(filepath.Join(tree, d), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for _, file := range []string{"etc/passwd", "etc/group", "etc/hosts"} {
			write(t, filepath.Join(tree, file), "")
		}
		if err := spoil(tree); err != nil {
			t.Fatal(err)
		}
	}
	names, notes := images{dir}.names()
	if !slices.Equal(names, []string{"good"}) || len(notes) != 4 {
		t.Errorf("images %v, notes %q", names, notes)
	}
}

// TestProcessesHaveNoImages: without sandboxes an image cannot be had.
func TestProcessesHaveNoImages(t *testing.T) {
	h := newHost(t)
	args := request(0)
	args.Image = "debian-13"
	if _, err := h.Launch(t.Context(), args); err == nil || !strings.Contains(err.Error(), "only -driver oci") {
		t.Errorf("launched in an image: %v", err)
	}
}

// TestLaunchNamesMissingPackages: what cannot be installed is named before anything is made.
func TestLaunchNamesMissingPackages(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	args := request(0)
	args.Packages = []string{"coffer-no-such-package"}
	var said []string
	_, err := h.launch(t.Context(), args, "", func(message string) { said = append(said, message) })
	if err == nil || !strings.Contains(err.Error(), "coffer-no-such-package") || len(said) != 1 || h.find(args.InstanceID) != nil {
		t.Errorf("said %q; %v", said, err)
	}
	if missing, err := service.System("").Missing(t.Context(), args.Packages); err != nil || len(missing) != 1 {
		t.Errorf("missing %v, %v", missing, err)
	}
}
