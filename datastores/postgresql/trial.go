package postgresql

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/configfile"
	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/datastores/volume"
)

// CheckOverrides implements [datastores.OverridesChecker]. The server's program reads the configuration and makes its shared
// memory, as initdb has it do to find out what a machine allows, and ends: it opens no port and needs no data.
func (m *Manager) CheckOverrides(ctx context.Context, values datastores.Values) error {
	settings, err := m.settings(ctx, values)
	if err != nil {
		return err
	}
	if err := checkReserved(settings); err != nil {
		return err
	}
	config, err := configfile.PostgreSQL(sortedSettings(settings)...)
	if err != nil {
		return err
	}
	dir, remove, err := m.trialDir(config)
	if err != nil {
		return err
	}
	defer remove()
	if err := m.tryToStart(ctx, dir); err != nil && ctx.Err() == nil {
		return m.impossible(err, dir)
	}
	return ctx.Err()
}

// checkReserved is what the server looks at only when it really starts.
func checkReserved(settings map[string]string) error {
	reserved, err1 := strconv.Atoi(settings["superuser_reserved_connections"])
	connections, err2 := strconv.Atoi(settings["max_connections"])
	if err1 == nil && err2 == nil && reserved >= connections {
		return datastores.Errorf(datastores.Invalid, "superuser_reserved_connections: %d leave nothing of max_connections, which is %d: lower the one or raise the other",
			reserved, connections)
	}
	return nil
}

// trialDir makes as much of a data directory as the program asks for.
func (m *Manager) trialDir(config []byte) (dir string, remove func(), err error) {
	temp, remove, err := volume.Temp(m.env)
	if err != nil {
		return "", nil, err
	}
	err = temp.WriteFile("PG_VERSION", []byte(strconv.Itoa(m.options.Version)+"\n"))
	if err == nil {
		err = temp.WriteFile(configName, config)
	}
	for _, name := range []string{"global", "pg_notify", "pg_dynshmem", "pg_stat", "pg_wal"} {
		if err == nil {
			err = temp.MakeDir(name)
		}
	}
	if err != nil {
		remove()
		return "", nil, err
	}
	return temp.Path, remove, nil
}

// programMB is how much address space the program takes itself.
const programMB = 128

// tryToStart runs the program, with no more memory than the instance has.
func (m *Manager) tryToStart(ctx context.Context, dir string) error {
	var argv []string
	if m.env.MemoryMB > 0 {
		argv = []string{"/usr/bin/prlimit", fmt.Sprintf("--as=%d", (m.env.MemoryMB+programMB)<<20), "--"}
	}
	argv = append(argv, m.program("postgres"), "--check", "-D", dir)
	// However the tenant has the server log: this is read here.
	for _, set := range []string{"log_destination=stderr", "logging_collector=off", "log_min_messages=warning", "log_error_verbosity=default",
		"log_line_prefix=", "lc_messages=C"} {
		argv = append(argv, "-c", set)
	}
	_, err := m.run(ctx, argv, service.RunOptions{})
	return err
}

var (
	complaint  = regexp.MustCompile(`(?m)(?:ERROR|FATAL|PANIC|LOG):  (.*)$`)
	inFile     = regexp.MustCompile(` in file "[^"]*" line \d+`)
	memoryNeed = regexp.MustCompile(`\(currently (\d+) bytes\)`)
)

// impossible makes an error of what the program has said before it gave up.
func (m *Manager) impossible(err error, dir string) error {
	var failure *service.Failure
	if !errors.As(err, &failure) {
		return err
	}
	said := failure.Words
	if need := memoryNeed.FindStringSubmatch(said); need != nil {
		bytes, _ := strconv.ParseUint(need[1], 10, 64)
		e := datastores.Errorf(datastores.Invalid, "the server would need %d MB of shared memory, and the instance has %d MB in all: lower shared_buffers, "+
			"max_connections, max_locks_per_transaction or max_pred_locks_per_transaction", bytes>>20, m.env.MemoryMB)
		e.Detail = said
		if strings.Contains(said, "huge pages") && bytes>>20 < uint64(m.env.MemoryMB) {
			e.Message = "the machine has not the memory in huge pages: set huge_pages to try or off"
		}
		return e
	}
	var reasons []string
	for _, found := range complaint.FindAllStringSubmatch(said, -1) {
		if reason := inFile.ReplaceAllString(found[1], ""); !strings.Contains(reason, dir) {
			reasons = append(reasons, reason)
		}
	}
	if len(reasons) == 0 {
		return fmt.Errorf("cannot try the parameters: %w", err)
	}
	e := datastores.Errorf(datastores.Invalid, "no server starts with these values: %s", strings.Join(reasons, "; "))
	e.Detail = said
	return e
}
