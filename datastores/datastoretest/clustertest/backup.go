package clustertest

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// testBackup: a member makes the backup of a cluster that is written to. Another cluster begins with it, of one member fewer, whose
// members have all rows that were acknowledged before, also after all were killed. Neither cluster has what only the other one took.
func testBackup(t *testing.T, c *cluster) {
	if of := c.members[0].ClusterShape().Backups; of != datastores.BackupOfMember {
		t.Skipf("NOT TESTED: a backup of the cluster is %q", of)
	}
	w, all := c.write(t), c.of(datastores.ClusterIn)
	w.goesOn(t, someRows)
	before := c.rows + int(w.acknowledged.Load())
	from := c.backUp(t, all[len(all)-1])
	w.keeps(t)

	other := &cluster{Harness: c.Harness, owner: t, id: c.NewEnv(t).InstanceID, secret: datastores.NewSecret("theOtherClustersSecret"), login: c.login, from: from, rows: before}
	other.add(t, make([]string, len(all)-1)...)
	other.settle(t, other.members[0])
	w = other.write(t)
	w.goesOn(t, int64(c.rows-before))
	other.kill(t, other.members...)
	other.restart(t, other.members...)
	other.settle(t, other.members[0])
	w.keeps(t)

	c.settle(t, all[0])
	client := c.open(t, all[0])
	defer func() { _ = client.Close() }()
	c.must(t, all[0], "read", func(ctx context.Context) error {
		missing, err := client.Missing(ctx, other.rows)
		if own := other.rows - len(missing); own < c.rows || own > c.rows+1 { // the writer may not have heard of its last one
			t.Errorf("the cluster that was backed up has %d rows, and has acknowledged %d; the other one has %d", own, c.rows, other.rows)
		}
		return err
	})
}

// backUp has a member make a backup, in the way that it prefers.
func (c *cluster) backUp(t *testing.T, m *member) *datastores.Restore {
	t.Helper()
	var stream bytes.Buffer
	link := datastores.BackupLink{ID: c.NewEnv(t).InstanceID, Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(stream.Bytes())), nil
	}}
	c.must(t, m, "back up", func(ctx context.Context) error {
		reply, err := m.manager.(datastores.Backups).BackupStrategies()[0].Backup(ctx, datastores.BackupRequest{ID: link.ID, Output: &stream, Expect: func(int64) {}})
		link.Meta = reply.Meta
		return err
	})
	return &datastores.Restore{Request: datastores.RestoreRequest{Chain: []datastores.BackupLink{link}, Progress: func(string) {}}}
}

// begin is what a member of a new cluster is prepared with: the first one with the backup that there may be.
func (c *cluster) begin(m *member) *datastores.Restore {
	if c.from == nil || m != c.members[0] {
		return nil
	}
	from := *c.from
	from.Strategy = m.manager.(datastores.Backups).BackupStrategies()[0]
	return &from
}
