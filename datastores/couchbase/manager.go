package couchbase

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/datastores/volume"
)

// Below Env.DataDir, which is the server's /opt/couchbase/var: the package brings these, and a new volume has not.
func folders() []string {
	all := []string{"lib", "lib/couchbase"}
	for _, name := range []string{"config", "data", "logs", "stats", "tmp"} {
		all = append(all, "lib/couchbase/"+name)
	}
	return all
}

// outputFile takes what the server says on its standard output. Its logs proper are in lib/couchbase/logs.
const outputFile = "couchbase.log"

// Manager runs one Couchbase Server.
type Manager struct {
	env     datastores.Env
	options Options
	service *service.Service
	data    volume.Dir // in the hands of the server's user
	own     volume.Dir // the guest's
	set     service.Overrides
}

// New makes the manager of the server in env. It touches nothing.
func New(env datastores.Env, options Options) *Manager {
	m := &Manager{env: env, options: options, data: volume.Data(env), own: volume.Own(env), set: service.Overrides{Dir: env.Dir, File: "couchbase-overrides.json"}}
	// What follows -- is Erlang's: it takes flags that it does not know, so that the command line names the instance.
	m.service = service.New(env, "couchbase", options.Program, "--", "-noinput", "-instance", env.InstanceID)
	m.service.LogFile, m.service.WorkDir = outputFile, env.DataDir
	m.service.ExtraEnv = []string{"HOME=" + filepath.Join(env.DataDir, "lib/couchbase")}
	return m
}

func (m *Manager) dataPath(name string) string { return filepath.Join(m.env.DataDir, name) }

// Prepare implements [datastores.Manager].
func (m *Manager) Prepare(ctx context.Context, req datastores.PrepareRequest) error {
	req.Progress("making the data folder")
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := errors.Join(m.checkMemory(), m.CheckOverrides(ctx, req.Overrides)); err != nil {
		return err
	}
	if err := errors.Join(m.makeFolders(), m.set.Save(req.Overrides), m.makeIdentity(req.Cluster)); err != nil {
		return fmt.Errorf("cannot configure the server: %w", err)
	}
	req.Progress("starting the server")
	if err := m.startServer(ctx); err != nil {
		return err
	}
	req.Progress("making the guest's account")
	if err := m.provision(ctx); err != nil {
		return fmt.Errorf("cannot provision the server: %w", err)
	}
	if req.Restore != nil {
		req.Progress("restoring the backup")
		if err := req.Restore.Run(ctx); err != nil {
			return fmt.Errorf("cannot restore the backup: %w", err)
		}
	}
	return m.Start(ctx)
}

func (m *Manager) makeFolders() (err error) {
	for _, name := range folders() {
		err = errors.Join(err, m.data.MakeDir(name))
	}
	return err
}

// startServer returns when the server answers, provisioned or not.
func (m *Manager) startServer(ctx context.Context) error {
	if err := m.service.Start(ctx); err != nil {
		return err
	}
	return m.service.Await(ctx, func(ctx context.Context) error {
		_, err := m.provisioned(ctx)
		return err
	})
}

// provisioned reports whether the server has an administrator. It tells everybody.
func (m *Manager) provisioned(ctx context.Context) (bool, error) {
	var is struct {
		Pools []any `json:"pools"`
	}
	err := m.ask(ctx, "", "GET", "/pools", nil, &is)
	return len(is.Pools) > 0, err
}

// provision makes the server a cluster of one node, with the guest's account, all in one call.
func (m *Manager) provision(ctx context.Context) error {
	id, err := m.identity()
	if err != nil {
		return err
	}
	done, err := m.provisioned(ctx)
	if err != nil {
		return err
	}
	if !done {
		form := url.Values{
			"hostname": {m.env.Address}, "username": {adminUser}, "password": {id.Admin}, "port": {"SAME"}, "services": {strings.Join(m.options.Services, ",")},
			"clusterName": {m.env.InstanceID}, "sendStats": {"false"},
		}
		for parameter, mb := range m.quotas() {
			form.Set(parameter, strconv.Itoa(mb))
		}
		if err := m.ask(ctx, "", "POST", "/clusterInit", form, nil); err != nil {
			return err
		}
	}
	if err := m.service.Await(ctx, m.well); err != nil {
		return err
	}
	// How long a password has to be is not the server's business: whoever makes users by Coffer's API says it.
	return m.call(ctx, "POST", "/settings/passwordPolicy", url.Values{
		"minLength": {"1"}, "enforceUppercase": {"false"}, "enforceLowercase": {"false"}, "enforceDigits": {"false"}, "enforceSpecialChars": {"false"},
	}, nil)
}

// Start implements [datastores.Manager]. A member of a cluster need not reach the others: settling does what it then leaves out.
func (m *Manager) Start(ctx context.Context) error {
	if err := m.startServer(ctx); err != nil {
		return err
	}
	id, err := m.identity()
	if err != nil {
		return err
	}
	if err := m.service.Await(ctx, m.warm); err != nil {
		return err
	}
	err = errors.Join(m.finishRename(ctx), m.apply(ctx))
	if err != nil && id.Cluster != "" && ctx.Err() == nil {
		m.env.Log.Warn("the settings of the cluster are not as they are to be", "err", err)
		return nil
	}
	return err
}

// Stop implements [datastores.Manager].
func (m *Manager) Stop(ctx context.Context) error { return m.service.Stop(ctx) }

// Status implements [datastores.Manager].
func (m *Manager) Status(ctx context.Context) datastores.Status {
	return m.service.Status(ctx, m.well)
}
