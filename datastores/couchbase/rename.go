package couchbase

import (
	"context"
	"errors"

	"github.com/cofferdb/coffer/datastores"
)

// renameFile holds a change of a user's name that is under way, below Env.Dir.
const renameFile = "couchbase-rename.json"

// renaming is a user that is made anew under another name. Couchbase has no other way, and tells nobody a password.
type renaming struct {
	Old string `json:"old"`
	New string `json:"new"`
}

// rename makes the user anew. It is noted before, so that a guest that is killed between the two steps does not leave both users.
func (m *Manager) rename(ctx context.Context, a account, change datastores.UserChange) error {
	if err := m.free(ctx, change.Name); err != nil {
		return err
	}
	if change.Password.IsZero() {
		return datastores.Errorf(datastores.Invalid, "Couchbase cannot rename user %q: give the new password, too, and it is made anew", a.Name)
	}
	if err := m.own.SaveJSON(renameFile, renaming{a.Name, change.Name}); err != nil {
		return err
	}
	if err := m.putUser(ctx, change.Name, change.Password, a.Roles); err != nil {
		return err
	}
	return m.finishRename(ctx)
}

// finishRename ends a change of a name that was cut: the old user goes, if the new one is there.
func (m *Manager) finishRename(ctx context.Context) error {
	var r renaming
	if err := m.own.LoadJSON(renameFile, &r); err != nil || r.Old == "" {
		return err
	}
	if _, err := m.account(ctx, r.New); err == nil {
		if err := m.dropUser(ctx, r.Old); err != nil {
			return err
		}
	} else if !isKind(err, datastores.NotFound) {
		return err
	}
	return m.own.Remove(renameFile)
}

// isKind reports whether err is an error of that kind.
func isKind(err error, kind datastores.ErrorKind) bool {
	var e *datastores.Error
	return errors.As(err, &e) && e.Kind == kind
}
