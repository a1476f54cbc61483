package mongodb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/mongodb/opmsg"
	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/datastores/volume"
)

// Manager runs one mongod.
type Manager struct {
	service.SystemLog
	env         datastores.Env
	options     Options
	service     *service.Service
	maintenance *service.Service // the same server without authorization, at its local socket alone
	data        volume.Dir       // in the hands of the server's user
	own         volume.Dir       // the guest's
	set         service.Overrides
}

// New makes the manager of the server in env. It touches nothing.
func New(env datastores.Env, options Options) *Manager {
	m := &Manager{env: env, options: options, data: volume.Data(env), own: volume.Own(env), set: service.Overrides{Dir: env.Dir, File: "mongodb-overrides.json"}}
	m.service = service.New(env, "mongodb", options.Program, "--config", m.dataPath(configFile))
	m.maintenance = service.New(env, "mongodb-maintenance", options.Program, "--config", m.dataPath(maintenanceFile))
	for _, s := range []*service.Service{m.service, m.maintenance} {
		s.LogFile, s.WorkDir = logFile, m.dataPath(folder)
	}
	m.SystemLog = service.NewSystemLog("mongodb", m.dataPath(logFile))
	return m
}

// Prepare implements [datastores.Manager].
func (m *Manager) Prepare(ctx context.Context, req datastores.PrepareRequest) error {
	req.Progress("making the data folder")
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := m.checkOverrides(req.Overrides); err != nil {
		return err
	}
	if err := errors.Join(m.makeFolders(), m.set.Save(req.Overrides)); err != nil {
		return fmt.Errorf("cannot configure the server: %w", err)
	}
	if err := m.fill(ctx, req); err != nil {
		return err
	}
	req.Progress("starting the server")
	if err := m.Start(ctx); err != nil || req.Cluster == nil || req.Restore == nil {
		return err
	}
	id, err := m.identity()
	if err != nil {
		return err
	}
	return m.found(ctx, id) // who has the backup begins the cluster
}

// fill makes the data: those of a backup, of a source, or none.
func (m *Manager) fill(ctx context.Context, req datastores.PrepareRequest) error {
	if req.Replicate != nil {
		req.Progress("copying from the source")
		return req.Replicate.Run(ctx)
	}
	id, err := m.makeIdentity(req.Cluster)
	if err != nil {
		return err
	}
	if req.Restore != nil {
		req.Progress("restoring the backup")
		if err := req.Restore.Run(ctx); err != nil {
			return fmt.Errorf("cannot restore the backup: %w", err)
		}
		return nil
	}
	if id.Ready || req.Cluster != nil { // a cluster is founded by one of its members
		return nil
	}
	req.Progress("making the guest's account")
	if err := m.maintain(ctx, m.secure); err != nil {
		return fmt.Errorf("cannot make the guest's account: %w", err)
	}
	return m.change(func(id *identity) { id.Ready = true })
}

// Start implements [datastores.Manager]. It waits until the server is the primary of its set, or follows another.
func (m *Manager) Start(ctx context.Context) error {
	if _, _, ok := m.service.Running(); !ok {
		if err := m.finishDetach(ctx); err != nil {
			return err
		}
		if err := m.configure(); err != nil {
			return fmt.Errorf("cannot configure the server: %w", err)
		}
	}
	if err := m.service.Start(ctx); err != nil {
		return err
	}
	id, err := m.identity()
	if err != nil {
		return err
	}
	if err := m.service.Await(ctx, func(ctx context.Context) error { return m.arrived(ctx, id) }); err != nil {
		return err
	}
	if id.Source != nil || id.Cluster != nil { // a cluster may have no primary yet, see Upkeep
		return nil
	}
	return m.finishChange(ctx)
}

// arrived fails while the server is on its way to what it shall be.
func (m *Manager) arrived(ctx context.Context, id identity) error {
	is, err := m.hello(ctx)
	switch {
	case err != nil:
		return err
	case id.Cluster != nil:
		return m.seated(ctx, is, *id.Cluster)
	case is.Primary || is.Secondary && id.Source != nil:
		return nil
	case id.Source != nil && !id.Synced:
		return nil // it has no data yet, and no accounts
	}
	err = m.talk(ctx, func(c *opmsg.Client) error {
		if is.Set == "" && id.Source == nil {
			if err := m.initiate(ctx, c, id); err != nil {
				return err
			}
		}
		return m.outside(ctx, c)
	})
	return err
}

// outside returns nil when the server is no member of the set any more, or cannot go on in it: then it runs, and more is not to be had.
func (m *Manager) outside(ctx context.Context, c *opmsg.Client) error {
	st, err := setStatus(ctx, c)
	if opmsg.HasCode(err, invalidReplicaSetConfig) || err == nil && st.State == stateRecovering {
		return nil
	}
	return errors.Join(err, fmt.Errorf("it is in state %d of its set", st.State))
}

// Stop implements [datastores.Manager].
func (m *Manager) Stop(ctx context.Context) error {
	return errors.Join(m.maintenance.Stop(ctx), m.service.Stop(ctx))
}

// Status implements [datastores.Manager].
func (m *Manager) Status(ctx context.Context) datastores.Status {
	return m.service.Status(ctx, func(ctx context.Context) error {
		is, err := m.hello(ctx)
		if err != nil {
			return err
		}
		return m.inCluster(ctx, is)
	})
}

// greeting is what a server says of itself to everybody.
type greeting struct {
	Primary   bool   `bson:"isWritablePrimary"`
	Secondary bool   `bson:"secondary"`
	Set       string `bson:"setName"`
	At        string `bson:"primary"` // whom it takes for the primary: host and port
	// Election is later than those before, of a primary.
	Election bson.ObjectID `bson:"electionId"`
}

func (m *Manager) hello(ctx context.Context) (is greeting, err error) {
	c, err := m.dial(ctx)
	if err != nil {
		return is, err
	}
	defer func() { _ = c.Close() }()
	reply, err := c.Call(ctx, "admin", bson.D{{Key: "hello", Value: 1}})
	if err != nil {
		return is, crowded(err)
	}
	return is, bson.Unmarshal(reply, &is)
}

// dial connects to the server by its local socket.
func (m *Manager) dial(ctx context.Context) (*opmsg.Client, error) {
	conn, err := m.data.Dial(ctx, socketFile)
	if err != nil {
		return nil, err
	}
	config, err := m.local()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	c, err := opmsg.New(ctx, conn, config)
	if err != nil {
		return nil, crowded(err)
	}
	return c, nil
}

// talk runs do on a connection under the guest's own account. Each time it connects anew: that is seldom, and no
// connection can then be left over from before a restart.
func (m *Manager) talk(ctx context.Context, do func(*opmsg.Client) error) error {
	id, err := m.identity()
	if err != nil {
		return err
	}
	c, err := m.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.Login(ctx, adminDatabase, adminUser, id.Admin); err != nil {
		return crowded(err)
	}
	return do(c)
}

// crowded makes an error of a connection that was closed at once what it means: a server closes what is above net.maxIncomingConnections.
func crowded(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return datastores.Errorf(datastores.Unavailable, "all connections are taken; a restart of the instance ends them")
	}
	return err
}

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
