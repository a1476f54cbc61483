package mysql

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/datastores/volume"
)

// xtrabackupDouble stands for xtrabackup and xbstream, which are nowhere to be had: it writes down how it is called, and of a backup what
// the real one would tell.
const xtrabackupDouble = `#!/bin/sh
echo "${0##*/} $*" >>"${0%/*}/calls"
for option; do
	case $option in
	--extra-lsndir=*)
		printf 'from_lsn = 0\nto_lsn = 42\n' >"${option#*=}/xtrabackup_checkpoints"
		printf "binlog_pos = filename 'binlog.000001', GTID of the last change 'u:1-5'\n" >"${option#*=}/xtrabackup_info"
		echo "what is in the files" ;;
	esac
done
case ${0##*/} in xbstream) cat >/dev/null ;; esac
`

// TestPerconaBacksUpWithItsTool has MySQL stand for Percona Server, which speaks as it does, with and without XtraBackup installed.
func TestPerconaBacksUpWithItsTool(t *testing.T) {
	if !datastoretest.InImage(t, sid) {
		return
	}
	ctx := t.Context()
	o := mysqlOptions(t, "9.7")
	o.Variant, o.Version = "percona", "8.4"
	m := New(mysqlEnv(t), o)
	stopInTheEnd(t, m)
	must(t, m.Prepare(ctx, quietly()))
	if first := m.replication().StartsFrom.Name; first != "clone" {
		t.Errorf("without XtraBackup replicas begin with %s", first)
	}
	tools := t.TempDir()
	must(t, os.Chmod(filepath.Dir(tools), 0o755))
	must(t, os.WriteFile(tools+"/calls", nil, 0o666))
	must(t, os.Chmod(tools+"/calls", 0o666))
	for _, name := range []string{"xtrabackup", "xbstream"} {
		must(t, os.WriteFile(filepath.Join(tools, name), []byte(xtrabackupDouble), 0o755))
	}
	o.ToolsDir = tools
	m = New(m.env, o)
	if first := m.replication().StartsFrom.Name; first != "xtrabackup" {
		t.Errorf("with XtraBackup replicas begin with %s", first)
	}
	var chain []datastores.BackupLink
	for _, parent := range []int{-1, 0} {
		req := datastores.BackupRequest{ID: instanceID(), Output: io.Discard, Expect: func(int64) {}}
		if parent >= 0 {
			req.Parent = &chain[parent]
		}
		reply, err := m.physicalStrategy().Backup(ctx, req)
		must(t, err)
		var meta backupMeta
		must(t, json.Unmarshal(reply.Meta, &meta))
		if diff := cmp.Diff(backupMeta{Family: "mysql", Version: "8.4", FromLSN: "0", ToLSN: "42", GTID: "u:1-5"}, meta); diff != "" {
			t.Error(diff)
		}
		chain = append(chain, datastores.BackupLink{ID: req.ID, Meta: reply.Meta, Open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader([]byte("a stream"))), nil
		}})
	}
	to := New(mysqlEnv(t), o)
	must(t, to.physicalStrategy().Restore(ctx, datastores.RestoreRequest{Chain: chain, Progress: func(string) {}}))
	calls, err := os.ReadFile(tools + "/calls")
	must(t, err)
	made := ""
	for _, word := range strings.Fields(string(calls)) {
		if path, ok := strings.CutPrefix(word, "--target-dir="+to.path(dataDir)); ok {
			made = to.path(dataDir) + path
		}
	}
	said := strings.NewReplacer(made, "MADE", m.env.DataDir, "V", to.env.DataDir, "W").Replace(string(calls))
	const backup = "xtrabackup --defaults-file=V/client.cnf --backup --stream=xbstream --datadir=V/data --target-dir=V/tmp/backup --extra-lsndir=V/tmp/backup --tmpdir=V/tmp"
	want := backup + "\n" + backup + " --incremental-lsn=42\n" +
		"xbstream -x -C MADE\nxtrabackup --no-defaults --prepare --target-dir=MADE --apply-log-only\n" +
		"xbstream -x -C W/tmp/increment\nxtrabackup --no-defaults --prepare --target-dir=MADE --incremental-dir=W/tmp/increment\n"
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if there, err := volume.Data(to.env).Exists(dataDir); err != nil || !there {
		t.Errorf("the data directory is there: %v, %v", there, err)
	}
}
