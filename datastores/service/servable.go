package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Unservable says why the system cannot run the server's program at path, in a version that begins with version; "" means
// that it can, perhaps after [System.Install] has installed packages, whose first brings the program. Nothing is installed;
// only lists of packages are fetched when there are none at all. A path of "" is a program that nobody knows. The reason has
// no path in it.
func (s System) Unservable(ctx context.Context, path, version string, packages []string) (reason string) {
	missing, err := s.Missing(ctx, packages)
	if err != nil {
		return "its packages cannot be asked for"
	}
	if len(missing) > 0 {
		if reason := s.unavailable(ctx, version, packages[0], missing); reason != "" {
			return reason
		}
		if missing[0] == packages[0] {
			return "" // the program comes with it
		}
	}
	return s.unfit(ctx, path, version)
}

const versionTimeout = 5 * time.Second

// unfit looks at a program that should be there.
func (s System) unfit(ctx context.Context, path, version string) (reason string) {
	if path == "" {
		return ""
	}
	name := filepath.Base(path)
	if _, err := os.Stat(s.path(path)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Sprintf("its program %s is not there, and no missing package brings it", name)
	}
	if version == "" {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	alone := RunOptions{Alone: true, Root: s.path("/")} // a guest binary has said which program: root runs none of its choice
	if os.Geteuid() != 0 {
		alone = RunOptions{}
	}
	out, err := Run(ctx, []string{path, "--version"}, alone)
	if err != nil {
		return fmt.Sprintf("its program %s cannot be run", name)
	}
	if has := versionNumber.FindString(string(out)); has != "" && !begins(has, version) {
		return fmt.Sprintf("its program %s is version %s, not %s", name, has, version)
	}
	return ""
}

// unavailable says why missing packages cannot be installed; server is the one whose version counts.
func (s System) unavailable(ctx context.Context, version, server string, missing []string) (reason string) {
	if os.Geteuid() != 0 {
		return "packages are missing and the host is not root: " + s.advice(missing)
	}
	candidates, err := s.aptCandidates(ctx, missing)
	if err != nil {
		return "its packages are missing, and apt cannot be asked for them"
	}
	for _, name := range missing {
		has := candidates[name]
		if has == "" {
			return fmt.Sprintf("the package %s is not to be had", name)
		}
		if name == server && version != "" && !begins(has, version) {
			return fmt.Sprintf("the package %s is to be had in version %s, not %s", name, has, version)
		}
	}
	return ""
}

const aptLists = "/var/lib/apt/lists"

// aptCandidates are the versions that apt would install, without Debian's parts of them.
func (s System) aptCandidates(ctx context.Context, names []string) (map[string]string, error) {
	if lists, _ := filepath.Glob(s.path(aptLists) + "/*_Packages*"); len(lists) == 0 {
		if err := s.apt(ctx, "apt-get", "-o", "DPkg::Lock::Timeout=20", "update"); err != nil {
			return nil, err
		}
	}
	out, err := Run(ctx, s.argv(append([]string{"apt-cache", "policy", "--"}, names...)...), RunOptions{})
	if err != nil {
		return nil, err
	}
	return parseCandidates(string(out)), nil
}

var (
	versionNumber = regexp.MustCompile(`\d+(\.\d+)+`)
	// candidate is "Candidate: 1:10.11.14-0+deb12u2" in what apt-cache says of a package; the epoch is no part of the version.
	candidate = regexp.MustCompile(`^\s+Candidate: (?:\d+:)?(\d[^-+~\s]*)`)
)

// parseCandidates reads what `apt-cache policy` prints. A package that nobody has is left out.
func parseCandidates(out string) map[string]string {
	found := map[string]string{}
	name := ""
	for line := range strings.Lines(out) {
		if n, ok := strings.CutSuffix(strings.TrimSpace(line), ":"); ok && !strings.HasPrefix(line, " ") {
			name = n
		} else if m := candidate.FindStringSubmatch(line); m != nil && name != "" {
			found[name] = m[1]
		}
	}
	return found
}

// begins reports whether a version begins with the numbers of another: 10.11.6 with 10.11, but not with 10.1.
func begins(version, prefix string) bool {
	rest, ok := strings.CutPrefix(version, prefix)
	return ok && (rest == "" || rest[0] < '0' || rest[0] > '9')
}
