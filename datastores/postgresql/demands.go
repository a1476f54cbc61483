package postgresql

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/cofferdb/coffer/datastores/service"
)

// A server cannot open data with less of some settings than the data was written with. What was there is in the control file,
// which follows the log: a standby has the values of its source there, as soon as it has replayed how that was started.
//
//   - A standby that tenants read from needs as much of each as its source. With less it does not start, or, when it runs, it
//     pauses its replay until it is started again.
//   - Any server needs a place for each prepared transaction that it finds.

// demanded are the settings that a standby needs as much of as its source, by their names in the control file.
var demanded = map[string]string{
	"max_connections setting":      "max_connections",
	"max_worker_processes setting": "max_worker_processes",
	"max_wal_senders setting":      "max_wal_senders",
	"max_prepared_xacts setting":   preparedSetting,
	"max_locks_per_xact setting":   "max_locks_per_transaction",
}

const preparedSetting = "max_prepared_transactions"

// matchSource raises the settings of a standby to what its source has.
func (m *Manager) matchSource(ctx context.Context, settings map[string]string) error {
	control, err := m.control(ctx)
	if err != nil {
		return err
	}
	for name, setting := range demanded {
		raise(settings, setting, control[name])
	}
	return nil
}

// makePlaces raises the places for prepared transactions to those that lie in the data directory.
func (m *Manager) makePlaces(settings map[string]string) error {
	tree, err := m.data.Open()
	if err != nil {
		return err
	}
	defer func() { _ = tree.Close() }()
	transactions, err := tree.List(dataDir + "/pg_twophase")
	if errors.Is(err, fs.ErrNotExist) { // there is no data yet
		return nil
	}
	raise(settings, preparedSetting, strconv.Itoa(len(transactions)))
	return err
}

// foreseeRecovery raises the places for prepared transactions to those that there were, when there is a log to replay: it may
// hold as many. raised reports whether it did.
func (m *Manager) foreseeRecovery(ctx context.Context, settings map[string]string) (raised bool, err error) {
	control, err := m.control(ctx)
	if err != nil || control["Database cluster state"] == "shut down" {
		return false, err
	}
	return raise(settings, preparedSetting, control["max_prepared_xacts setting"]), nil
}

// raise makes a setting at least least, and reports whether it was less.
func raise(settings map[string]string, name, least string) bool {
	want, err := strconv.Atoi(least)
	if err != nil {
		return false
	}
	if has, err := strconv.Atoi(settings[name]); err == nil && has >= want {
		return false
	}
	settings[name] = least
	return want > 0
}

// paused reports whether the server has stopped to replay the log of its source. Only an answer is no error.
func (m *Manager) paused(ctx context.Context) (paused bool, err error) {
	err = m.with(ctx, func(s *session) error {
		v, err := s.one(ctx, "SELECT CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() = 'paused' END")
		paused = v.bool()
		return err
	})
	return paused, err
}

// outgrown says what a standby that has paused its replay has too little of, or "".
func (m *Manager) outgrown(ctx context.Context) (reason string, err error) {
	control, err := m.control(ctx)
	if err != nil {
		return "", err
	}
	err = m.with(ctx, func(s *session) error {
		rows, err := s.query(ctx, "SELECT name, setting FROM pg_settings WHERE name LIKE 'max\\_%' ORDER BY name")
		if err != nil {
			return err
		}
		has := map[string]string{}
		for _, row := range rows {
			has[row[0].String()] = row[1].String()
		}
		for name, setting := range demanded {
			if had := has[setting]; raise(has, setting, control[name]) {
				reason = fmt.Sprintf("its source has %s of %s and it has %s", control[name], setting, had)
			}
		}
		return nil
	})
	return reason, err
}

// control reads what pg_controldata tells of the data directory.
func (m *Manager) control(ctx context.Context) (map[string]string, error) {
	out, err := m.run(ctx, []string{m.program("pg_controldata"), "-D", m.path(dataDir)}, service.RunOptions{})
	if err != nil {
		return nil, err
	}
	control := map[string]string{}
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(line, ":")
		control[name] = strings.TrimSpace(value)
	}
	return control, nil
}
