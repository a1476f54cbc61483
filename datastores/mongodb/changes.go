package mongodb

import (
	"context"

	"github.com/cofferdb/coffer/datastores/mongodb/opmsg"
)

// changeFile holds a change of a user that is under way, below Env.Dir, 0600. It has the new password for that long.
const changeFile = "mongodb-change.json"

// remaking is a user that is dropped and made anew. A connection outlives updateUser, whatever the new password; the server ends those of a user who was
// dropped, also when another has the name (MongoDB tells users apart by an id, userId).
type remaking struct {
	Old      string `json:"old"`
	New      string `json:"new"`
	Password string `json:"password"`
	Roles    []role `json:"roles"`
}

// remake does it so that a guest that is killed between the two does not lose the user: the next call goes on.
func (m *Manager) remake(ctx context.Context, c *opmsg.Client, change remaking) error {
	if err := m.own.SaveJSON(changeFile, change); err != nil {
		return err
	}
	return m.goOn(ctx, c, change)
}

func (m *Manager) goOn(ctx context.Context, c *opmsg.Client, change remaking) error {
	if err := dropUser(ctx, c, change.Old); err != nil {
		return err
	}
	err := makeUser(ctx, c, change.New, change.Password, change.Roles)
	if err != nil && !opmsg.HasCode(err, userExists) { // it exists when an earlier try has made it
		return err
	}
	return m.own.Remove(changeFile)
}

// finishChange goes on with a change that was cut.
func (m *Manager) finishChange(ctx context.Context) error {
	var change remaking
	if err := m.own.LoadJSON(changeFile, &change); err != nil || change.Old == "" {
		return err
	}
	return m.lead(ctx, func(c *opmsg.Client) error { return m.goOn(ctx, c, change) })
}
