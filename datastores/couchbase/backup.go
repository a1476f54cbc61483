package couchbase

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

const (
	archiveFolder = "coffer-backup" // on the volume, for as long as a backup or a restore takes
	repository    = "coffer"
	aboutFile     = archiveFolder + "/coffer.json"
	maxAbout      = 256 << 20 // bytes
	usersBackup   = "/settings/rbac/backup"
)

// about is what a backup has beside cbbackupmgr's archive.
type about struct {
	Version string        `json:"version"`
	Users   string        `json:"users"` // as the server tells it, with hashes of passwords
	Buckets []bucketAbout `json:"buckets"`
}

type bucketAbout struct {
	Name string `json:"name"`
	MB   int64  `json:"mb"`
}

// BackupStrategies implements [datastores.Backups].
func (m *Manager) BackupStrategies() []datastores.BackupStrategy {
	return []datastores.BackupStrategy{{
		StrategyName: datastores.StrategyName{Namespace: "couchbase_impl", Name: "cbbackupmgr"},
		Logical:      true,
		Backup:       m.backup,
		Restore:      m.restore,
	}}
}

// archive runs cbbackupmgr, as the server's user, on the archive. It takes the account by its environment.
func (m *Manager) archive(ctx context.Context, command string, online bool) error {
	argv := []string{filepath.Join(m.options.ToolsDir, "cbbackupmgr"), command, "--archive", m.dataPath(archiveFolder), "--repo", repository}
	opts := service.RunOptions{
		Env:        []string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8", "HOME=" + m.dataPath("lib/couchbase")},
		Credential: service.Credential(m.env.UID, m.env.GID), Dir: m.env.DataDir,
	}
	if online {
		id, err := m.identity()
		if err != nil {
			return err
		}
		argv = append(argv, "--cluster", "http://"+net.JoinHostPort(m.env.Address, strconv.Itoa(restPort)), "--no-progress-bar")
		opts.Env = append(opts.Env, "CB_USERNAME="+adminUser, "CB_PASSWORD="+id.Admin)
	}
	_, err := service.Run(ctx, argv, opts)
	return err
}

// backup makes an archive on the volume and streams it: cbbackupmgr writes to directories alone.
func (m *Manager) backup(ctx context.Context, req datastores.BackupRequest) (reply datastores.BackupReply, err error) {
	if err := errors.Join(ctx.Err(), m.data.Remove(archiveFolder), m.data.MakeDir(archiveFolder)); err != nil {
		return reply, err
	}
	defer func() { err = errors.Join(err, m.data.Remove(archiveFolder)) }()
	list, err := m.buckets(ctx)
	if err != nil {
		return reply, err
	}
	a, used := about{Version: m.options.Version}, int64(0)
	for _, b := range list {
		a.Buckets = append(a.Buckets, bucketAbout{b.Name, b.Quota.Raw >> 20})
		used += b.Stats.Used
	}
	req.Expect(used)
	if err := m.archive(ctx, "config", false); err != nil {
		return reply, fmt.Errorf("cannot begin an archive: %w", err)
	}
	if err := m.archive(ctx, "backup", true); err != nil {
		return reply, fmt.Errorf("cannot back up: %w", err)
	}
	var all json.RawMessage
	if err := m.call(ctx, "GET", usersBackup+"?exclude=admin", nil, &all); err != nil {
		return reply, err
	}
	a.Users = string(all)
	text, err := json.Marshal(a)
	if err != nil {
		return reply, err
	}
	if err := m.data.WriteFile(aboutFile, text); err != nil {
		return reply, err
	}
	tree, err := m.data.Open()
	if err != nil {
		return reply, err
	}
	defer func() { _ = tree.Close() }()
	archive, err := tree.In(archiveFolder)
	if err != nil {
		return reply, err
	}
	defer func() { _ = archive.Close() }()
	return reply, archive.WriteTar(ctx, req.Output)
}

// restore loads an archive into a server that runs. What it has is taken away before.
func (m *Manager) restore(ctx context.Context, req datastores.RestoreRequest) (err error) {
	req.Progress("reading the archive")
	if err := errors.Join(ctx.Err(), m.data.Remove(archiveFolder), m.data.MakeDir(archiveFolder)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.data.Remove(archiveFolder)) }()
	if err := m.unpack(ctx, req); err != nil {
		return err
	}
	var a about
	text, err := m.data.ReadFile(aboutFile, maxAbout)
	if err == nil {
		err = json.Unmarshal(text, &a)
	}
	if err != nil {
		return fmt.Errorf("the archive is none of this datastore's: %w", err)
	}
	req.Progress("making the buckets")
	if err := m.empty(ctx); err != nil {
		return err
	}
	for _, b := range a.Buckets {
		if err := m.createBucket(ctx, b.Name, b.MB, 0); err != nil {
			return err
		}
	}
	req.Progress("loading the documents")
	if err := m.archive(ctx, "restore", true); err != nil {
		return fmt.Errorf("cannot load the archive: %w", err)
	}
	req.Progress("making the users")
	return m.call(ctx, "PUT", usersBackup, url.Values{"backup": {a.Users}, "canOverwrite": {"true"}}, nil)
}

func (m *Manager) unpack(ctx context.Context, req datastores.RestoreRequest) error {
	stream, err := req.Chain[0].Open(ctx)
	if err != nil {
		return err
	}
	tree, err := m.data.Open()
	if err != nil {
		return errors.Join(err, stream.Close())
	}
	defer func() { _ = tree.Close() }()
	archive, err := tree.In(archiveFolder)
	if err != nil {
		return errors.Join(err, stream.Close())
	}
	return errors.Join(archive.ReadTar(ctx, stream), archive.Close(), stream.Close())
}

// empty takes all buckets and users away.
func (m *Manager) empty(ctx context.Context) error {
	users, err := m.accounts(ctx)
	if err != nil {
		return err
	}
	for _, u := range users {
		if err := m.dropUser(ctx, u.Name); err != nil {
			return err
		}
	}
	list, err := m.buckets(ctx)
	if err != nil {
		return err
	}
	for _, b := range list {
		if err := m.call(ctx, "DELETE", buckets+name(b.Name), nil, nil); err != nil && !isStatus(err, http.StatusNotFound) {
			return err
		}
	}
	return nil
}
