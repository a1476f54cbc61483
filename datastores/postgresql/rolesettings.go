package postgresql

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores/configfile"
	"github.com/cofferdb/coffer/datastores/service"
)

// Settings are kept in the data, too: of roles, databases and functions. The new version's program is asked whether it takes
// them, with a file of settings that it reads and refuses or not.

// roleSetting is one that is kept in the data.
type roleSetting struct{ value, where string }

// keep remembers the settings that a statement finds: whose each is, and what.
func (u *upgradeCheck) keep(ctx context.Context, s *session, inside, statement string) error {
	rows, err := s.query(ctx, statement)
	for _, row := range rows {
		name, value, _ := strings.Cut(row[1].String(), "=")
		if notInFiles[name] || slices.ContainsFunc(u.settings[name], func(had roleSetting) bool { return had.value == value }) {
			continue
		}
		u.settings[name] = append(u.settings[name], roleSetting{value, row[0].String() + inside})
	}
	return err
}

// notInFiles are settings that a session has, and no file.
var notInFiles = map[string]bool{
	"role": true, "session_authorization": true, "transaction_isolation": true, "transaction_read_only": true, "transaction_deferrable": true,
}

// mostValues is how many values of one setting are tried: there may be one for each of thousands of roles.
const mostValues = 20

// tryAll tries the n-th value of every setting together.
func (u *upgradeCheck) tryAll(ctx context.Context, m *Manager) error {
	for n := range mostValues {
		round := map[string]roleSetting{}
		for name, values := range u.settings {
			if n < len(values) {
				round[name] = values[n]
			}
		}
		for len(round) > 0 {
			refused, err := m.refuses(ctx, round)
			if err != nil {
				return err
			}
			if len(refused) == 0 {
				break
			}
			for _, name := range refused {
				u.found = append(u.found, fmt.Sprintf("PostgreSQL %d does not take the setting %s of %s: reset it there", u.version, name, round[name].where))
				delete(round, name)
			}
		}
	}
	return nil
}

var refusedSetting = regexp.MustCompile(`(?m)(?:unrecognized configuration parameter|invalid value for parameter|outside the valid range for parameter) "([^"]+)"`)

// refuses returns the names of settings that the program does not take, not always all.
func (m *Manager) refuses(ctx context.Context, settings map[string]roleSetting) (names []string, err error) {
	config := []byte("shared_buffers = 1MB\n")
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		// What no file can hold, such as a name with two dots, is a tenant's own invention.
		if line, err := configfile.PostgreSQL(configfile.Setting{Name: name, Value: settings[name].value}); err == nil {
			config = append(config, line...)
		}
	}
	dir, remove, err := m.trialDir(config)
	if err != nil {
		return nil, err
	}
	defer remove()
	err = m.tryToStart(ctx, dir)
	var failure *service.Failure
	if !errors.As(err, &failure) {
		return nil, err
	}
	for _, found := range refusedSetting.FindAllStringSubmatch(failure.Words, -1) {
		if _, ours := settings[found[1]]; ours && !slices.Contains(names, found[1]) {
			names = append(names, found[1])
		}
	}
	return names, nil
}

// shareDir is where the version has its extensions: its own program says so.
func (m *Manager) shareDir(ctx context.Context) (string, error) {
	var said strings.Builder
	_, err := m.run(ctx, []string{m.program("initdb"), "--show", "-D", "/nonexistent"}, service.RunOptions{Stderr: &said})
	if err != nil {
		return "", fmt.Errorf("cannot ask for the version's directories: %w", err)
	}
	_, rest, _ := strings.Cut(said.String(), "\nshare_path=")
	dir, _, _ := strings.Cut(rest, "\n")
	if !filepath.IsAbs(dir) {
		return "", errors.New("the version does not say where its extensions are")
	}
	return dir, nil
}
