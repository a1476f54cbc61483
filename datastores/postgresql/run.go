package postgresql

import (
	"context"

	"github.com/cofferdb/coffer/datastores/service"
)

// run runs one of the server's programs to its end, see [service.Run], always as the server's user. opts.Env comes beside a
// plain environment; it is the place for a secret, for only that user and root can read it. Some of the programs (initdb,
// pg_upgrade) insist on a user with a name.
func (m *Manager) run(ctx context.Context, argv []string, opts service.RunOptions) (string, error) {
	opts.Env = append([]string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "HOME=/nonexistent"}, opts.Env...)
	opts.Credential, opts.Named = m.service.Credential, true
	out, err := service.Run(ctx, argv, opts)
	return string(out), m.orFull(err)
}
