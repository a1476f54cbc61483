package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// Unservable says for each opinion why the system cannot run its program, in a version that begins with the opinion's; "" means that it
// can, perhaps after [System.Install] has installed the packages, whose first brings the program. Nothing is installed; only lists of
// packages are fetched when there are none at all. A path of "" is a program that nobody knows. The reasons have no path in them.
func (s System) Unservable(ctx context.Context, servers []datastores.Opinion) (reasons []string) {
	missing := make([][]string, len(servers))
	unknown := make([]error, len(servers))
	var names []string
	for i, server := range servers {
		missing[i], unknown[i] = s.Missing(ctx, server.Packages)
		names = append(names, missing[i]...)
	}
	to := s.offers(ctx, names)
	reasons = make([]string, len(servers))
	for i, server := range servers {
		if unknown[i] != nil {
			reasons[i] = "its packages cannot be asked for"
			continue
		}
		reasons[i] = to.unservable(ctx, server, missing[i])
	}
	return reasons
}

// offers are what apt would install of some packages.
type offers struct {
	System
	candidates map[string]string // see aptCandidates
	err        error
}

// offers asks apt once for all names: where it keeps no cache of its lists, it reads them for a second each time.
func (s System) offers(ctx context.Context, names []string) offers {
	o := offers{System: s}
	if len(names) > 0 && os.Geteuid() == 0 {
		slices.Sort(names)
		o.candidates, o.err = s.aptCandidates(ctx, slices.Compact(names))
	}
	return o
}

func (o offers) unservable(ctx context.Context, server datastores.Opinion, missing []string) (reason string) {
	if len(missing) > 0 {
		if reason := o.unavailable(server, missing); reason != "" {
			return reason
		}
		if missing[0] == server.Packages[0] {
			return "" // the program comes with it
		}
	}
	return o.unfit(ctx, server.Program.Path, server.Program.Version)
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

// unavailable says why missing packages cannot be installed.
func (o offers) unavailable(server datastores.Opinion, missing []string) (reason string) {
	if os.Geteuid() != 0 {
		return "packages are missing and the host is not root: " + o.advice(missing)
	}
	if o.err != nil {
		return "its packages are missing, and apt cannot be asked for them"
	}
	for _, name := range missing {
		has := o.candidates[name]
		if has == "" {
			return fmt.Sprintf("the package %s is not to be had", name)
		}
		if name == server.Packages[0] && server.Program.Version != "" && !begins(has, server.Program.Version) {
			return fmt.Sprintf("the package %s is to be had in version %s, not %s", name, has, server.Program.Version)
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
