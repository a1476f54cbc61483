package mongodb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/mongodb/opmsg"
	"github.com/cofferdb/coffer/datastores/service"
)

// BackupStrategies implements [datastores.Backups]. Files are not backed up: MongoDB's documents ask for fsyncLock for that, which holds writes up
// for as long as the copy takes.
func (m *Manager) BackupStrategies() []datastores.BackupStrategy {
	return []datastores.BackupStrategy{{
		StrategyName: datastores.StrategyName{Namespace: "mongo_impl", Name: "MongoDump"},
		Logical:      true,
		Backup:       m.backup,
		Restore:      m.restore,
	}}
}

func (m *Manager) tool(name string) string { return filepath.Join(m.options.ToolsDir, name) }

// run runs one of MongoDB's tools as the server's user. The connection string, which holds a password, is in a file that is gone when it has ended.
func (m *Manager) run(ctx context.Context, uri string, opts service.RunOptions, argv ...string) error {
	b, err := json.Marshal(map[string]string{"uri": uri}) // JSON is YAML
	if err != nil {
		return err
	}
	if err := m.data.WriteFile(toolsFile, b); err != nil {
		return err
	}
	opts.Credential, opts.Dir = service.Credential(m.env.UID, m.env.GID), m.dataPath(folder)
	_, err = service.Run(ctx, append(argv, "--config="+m.dataPath(toolsFile)), opts)
	return errors.Join(err, m.data.Remove(toolsFile))
}

// localURI is a connection string for the local socket, relative to the tools' working directory.
func (m *Manager) localURI(user *url.Userinfo) (string, error) {
	s, err := m.spokenTLS()
	if err != nil {
		return "", err
	}
	at := ""
	if user != nil {
		at = user.String() + "@"
	}
	uri := "mongodb://" + at + url.PathEscape("./"+socketName) + "/?directConnection=true&authSource=" + adminDatabase
	if s.Mode == tlsRequires {
		uri += "&tls=true&tlsInsecure=true" // see local
	}
	return uri, nil
}

// backup dumps all databases, users and roles, and what is written meanwhile: it holds what there was when it ended.
func (m *Manager) backup(ctx context.Context, req datastores.BackupRequest) (datastores.BackupReply, error) {
	id, err := m.identity()
	if err != nil {
		return datastores.BackupReply{}, err
	}
	if id.Cluster != nil { // this member may be behind
		if err := m.catchUp(ctx); err != nil {
			return datastores.BackupReply{}, fmt.Errorf("cannot dump: %w", err)
		}
	}
	size, err := m.size(ctx)
	if err != nil {
		return datastores.BackupReply{}, err
	}
	req.Expect(size)
	uri, err := m.localURI(url.UserPassword(adminUser, id.Admin))
	if err != nil {
		return datastores.BackupReply{}, err
	}
	if err := m.run(ctx, uri, service.RunOptions{Stdout: req.Output}, m.tool("mongodump"), "--archive", "--oplog"); err != nil {
		return datastores.BackupReply{}, fmt.Errorf("cannot dump: %w", err)
	}
	return datastores.BackupReply{}, nil
}

// size is about how much there is to dump.
func (m *Manager) size(ctx context.Context) (total int64, err error) {
	err = m.talk(ctx, func(c *opmsg.Client) error {
		names, err := listDatabases(ctx, c)
		if err != nil {
			return err
		}
		for _, name := range names {
			if name == "local" || name == "config" {
				continue
			}
			reply, err := c.Call(ctx, name, bson.D{{Key: "dbStats", Value: 1}, anywhere()})
			if err != nil {
				return err
			}
			var stats struct {
				Size float64 `bson:"dataSize"`
			}
			if err := bson.Unmarshal(reply, &stats); err != nil {
				return err
			}
			total += int64(stats.Size)
		}
		return nil
	})
	return total, err
}

// restore loads a dump into an empty server that runs alone, and then gives the guest its account back.
func (m *Manager) restore(ctx context.Context, req datastores.RestoreRequest) error {
	req.Progress("making an empty server")
	if err := m.empty(ctx); err != nil {
		return err
	}
	if err := m.change(func(id *identity) { id.Ready, id.Leaves, id.Synced, id.Source = false, false, false, nil }); err != nil {
		return err
	}
	err := m.maintain(ctx, func(ctx context.Context, c *opmsg.Client) error {
		req.Progress("loading the dump")
		dump, err := req.Chain[0].Open(ctx)
		if err != nil {
			return err
		}
		uri, err := m.localURI(nil)
		if err == nil {
			err = m.run(ctx, uri, service.RunOptions{Stdin: dump}, m.tool("mongorestore"), "--archive", "--oplogReplay")
		}
		if err = errors.Join(err, dump.Close()); err != nil {
			return fmt.Errorf("cannot load the dump: %w", err)
		}
		req.Progress("making the guest's account")
		return m.secure(ctx, c)
	})
	if err != nil {
		return err
	}
	return m.change(func(id *identity) { id.Ready = true })
}
