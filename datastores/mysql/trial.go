package mysql

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/configfile"
	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/datastores/volume"
)

// CheckOverrides implements [datastores.OverridesChecker]. Sizes are held against the instance; whether the program takes the
// values, and the character sets and collations fit together, the program itself says: it reads its options in order to
// print them, and ends before it opens a port or a file.
func (m *Manager) CheckOverrides(ctx context.Context, values datastores.Values) error {
	settings := append(m.rendered(values), m.needs()...)
	if err := checkSizes(settings, uint64(m.env.MemoryMB)<<20, m.volumeSize()); err != nil {
		return err
	}
	config, err := m.config(values)
	if err != nil {
		return err
	}
	temp, remove, err := volume.Temp(m.env)
	if err != nil {
		return err
	}
	defer remove()
	if err := temp.WriteFile(configName, config); err != nil {
		return err
	}
	dir := temp.Path
	// Away from the instance's own: the program would look into the data directory for the options of plug-ins.
	argv := append([]string{m.options.Program, "--defaults-file=" + filepath.Join(dir, configName), "--datadir=" + dir, "--tmpdir=" + dir}, m.variant.try...)
	_, err = service.Run(ctx, argv, service.RunOptions{Credential: m.service.Credential})
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	return impossible(err)
}

// checkSizes refuses what does not fit into an instance with so many bytes of memory and volume; 0: not limited. What
// sessions take comes and goes; this is there from the start.
func checkSizes(settings []configfile.Setting, memory, volume uint64) error {
	var total uint64
	for _, s := range settings {
		n, err := strconv.ParseUint(s.Value, 10, 64)
		if err != nil {
			continue
		}
		switch s.Name {
		case "innodb_buffer_pool_size", "innodb_log_buffer_size", "key_buffer_size", "aria_pagecache_buffer_size":
			total += n
		case "innodb_log_file_size", "innodb_redo_log_capacity":
			if volume > 0 && n > volume/2 {
				return datastores.Errorf(datastores.Invalid, "%s: %d MB are more than half of the volume; lower it, or make the volume larger", s.Name, n>>20)
			}
		}
	}
	if memory > 0 && total > memory {
		return datastores.Errorf(datastores.Invalid, "innodb_buffer_pool_size, innodb_log_buffer_size and key_buffer_size take %d MB together, and the instance has %d MB: lower them",
			total>>20, memory>>20)
	}
	return nil
}

// volumeSize is in bytes; 0: not known.
func (m *Manager) volumeSize() uint64 {
	_, total, _ := m.data.Space()
	return total
}

var (
	complaint = regexp.MustCompile(`(?m)(?:\[ERROR\] (?:\[MY-\d+\] \[\w+\] )?|^\a?/\S*/(?:mariadbd|mysqld): )(.*)$`)
	aPath     = regexp.MustCompile(`'?/[^\s':]+'?:? ?`)
)

// impossible makes an error of what the program has said before it gave up.
func impossible(err error) error {
	var failure *service.Failure
	if !errors.As(err, &failure) {
		return err
	}
	var reasons []string
	for _, found := range complaint.FindAllStringSubmatch(failure.Words, -1) {
		if reason := strings.TrimSpace(aPath.ReplaceAllString(found[1], "")); reason != "" && reason != "Aborting" && !slices.Contains(reasons, reason) {
			reasons = append(reasons, reason)
		}
	}
	if len(reasons) == 0 {
		return fmt.Errorf("cannot try the parameters: %w", err)
	}
	e := datastores.Errorf(datastores.Invalid, "no server starts with these values: %s", strings.Join(reasons, "; "))
	e.Detail = failure.Words
	return e
}
