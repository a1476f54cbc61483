package postgresql

import (
	"context"
	"strings"

	"github.com/cofferdb/coffer/datastores/service"
)

// rights are what lets users in, and which databases they may use, each with the user's number: a session keeps that when its role has
// another name, or is no more.
const rights = `SELECT r.oid, r::text FROM pg_authid r WHERE ` + tenantRoles + `
	UNION ALL SELECT g.member, g::text FROM pg_auth_members g JOIN pg_authid r ON r.oid = g.member WHERE ` + tenantRoles + `
	UNION ALL SELECT r.oid, d.oid || a.privilege_type FROM pg_database d, aclexplode(d.datacl) a, pg_authid r WHERE r.oid = a.grantee AND ` + tenantRoles

// Upkeep implements [datastores.Upkeep]. On a replica nobody calls when a user is changed on the source: it ends the sessions of those who
// have lost something.
func (m *Manager) Upkeep(ctx context.Context) error {
	r, err := m.loadSide()
	if err != nil || r.Source == nil {
		return err
	}
	return m.endOutdated(ctx)
}

func (m *Manager) endOutdated(ctx context.Context) error {
	return m.with(ctx, func(s *session) error {
		rows, err := s.query(ctx, rights)
		if err != nil {
			return failed(err, "cannot read what users may")
		}
		now := map[string][]string{}
		for _, row := range rows {
			now[row[0].String()] = append(now[row[0].String()], row[1].String())
		}
		err = service.Rights{Dir: m.env.Dir}.Watch(now, func(lost []string) error {
			return endSessions(ctx, s, "usesysid = ANY ($1::oid[])", "{"+strings.Join(lost, ",")+"}")
		})
		return failed(err, "cannot end the sessions of users who have lost something")
	})
}
