package cassandra

import (
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// What a backup held stays with the guest: it is too much for what a gateway keeps of a backup, and the next one on it sends only what is
// not in it.

func (m *Manager) loadList(backup string) (held contents, err error) {
	if !backupID.MatchString(backup) {
		return held, datastores.Errorf(datastores.Invalid, "%q is no id of a backup", backup)
	}
	b, err := m.own.ReadFile(listPrefix+backup, maxList)
	if errors.Is(err, fs.ErrNotExist) {
		return held, datastores.Errorf(datastores.Conflict, "it is not known any more what backup %s holds: take a full backup", backup)
	}
	if err == nil {
		err = json.Unmarshal(b, &held)
	}
	return held, err
}

// saveList keeps a list, and of earlier ones the newest.
func (m *Manager) saveList(backup string, held contents) error {
	if err := m.own.SaveJSON(listPrefix+backup, held); err != nil {
		return err
	}
	tree, err := m.own.Open()
	if err != nil {
		return err
	}
	defer func() { _ = tree.Close() }()
	entries, err := tree.List(".")
	if err != nil {
		return err
	}
	type list struct {
		name string
		made time.Time
	}
	var lists []list
	for _, e := range entries {
		if info, err := tree.Lstat(e.Name()); err == nil && strings.HasPrefix(e.Name(), listPrefix) {
			lists = append(lists, list{e.Name(), info.ModTime()})
		}
	}
	slices.SortFunc(lists, func(a, b list) int { return b.made.Compare(a.made) })
	for _, old := range lists[min(mostLists, len(lists)):] {
		err = errors.Join(err, tree.Remove(old.name))
	}
	return err
}
