package cassandra

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"

	"github.com/cofferdb/coffer/datastores/service"
)

// jmxUser is who may call what nodetool does. Its password stands in a file that the server's user can read, as the server must.
const (
	jmxUser    = "guest"
	jmxOwnFile = "cassandra-jmx.password" // below Env.Dir
)

// jmxAddress is the only one, beside all, at which the server takes what nodetool asks.
const jmxAddress = "127.0.0.1"

// jmxPort is the server's own where servers share that address: a user is one server's alone.
func (m *Manager) jmxPort() int {
	const usual, first, width = 7199, 10000, 20000
	if m.env.UID < first {
		return usual
	}
	return first + m.env.UID%width
}

func (m *Manager) jmxPassword() (string, error) {
	b, err := m.own.ReadFile(jmxOwnFile, maxSecret)
	if errors.Is(err, fs.ErrNotExist) {
		b = []byte(rand.Text())
		err = m.own.WriteFile(jmxOwnFile, b)
	}
	return string(b), err
}

// nodetool runs a command of nodetool as the server's user. It tells no secret: the password is in a file.
func (m *Manager) nodetool(ctx context.Context, args ...string) error {
	_, err := m.askNodetool(ctx, args...)
	return err
}

// askNodetool returns what it answers.
func (m *Manager) askNodetool(ctx context.Context, args ...string) (string, error) {
	said, err := service.Run(ctx, append([]string{m.options.Java, "@" + m.dataPath(toolsFile)}, args...), service.RunOptions{
		Credential: service.Credential(m.env.UID, m.env.GID), Dir: "/",
	})
	if err != nil {
		if words := new(service.Failure); errors.As(err, &words) && words.Words != "" {
			err = fmt.Errorf("%w: %s", err, words.Words)
		}
		return "", fmt.Errorf("nodetool %s: %w", args[0], err)
	}
	return string(said), nil
}
