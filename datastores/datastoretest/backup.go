package datastoretest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// backup is one that was made.
type backup struct {
	id     string
	meta   json.RawMessage
	stream []byte
}

func (b *backup) link() datastores.BackupLink {
	return datastores.BackupLink{ID: b.id, Meta: b.meta, Open: func(ctx context.Context) (io.ReadCloser, error) {
		return io.NopCloser(during{ctx: ctx, r: bytes.NewReader(b.stream)}), nil
	}}
}

// damaged is the backup with a stream that fails half way.
func (b *backup) damaged() datastores.BackupLink {
	link := b.link()
	link.Open = func(context.Context) (io.ReadCloser, error) {
		half := bytes.NewReader(b.stream[:len(b.stream)/2])
		return io.NopCloser(io.MultiReader(half, failingReader{})), nil
	}
	return link
}

var errDamaged = errors.New("segment 7 is damaged")

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errDamaged }

// loaded returns the source of all backups.
func (g *stage) loaded(t *testing.T) *server {
	t.Helper()
	if g.source == nil {
		g.source = prepared(t, g.t, g.Harness)
		g.source.keeper(t)
	}
	return g.source
}

// backupStrategy is the one of that name, of the manager of the moment.
func (s *server) backupStrategy(t *testing.T, name datastores.StrategyName) datastores.BackupStrategy {
	t.Helper()
	all := s.manager.(datastores.Backups).BackupStrategies()
	strategy, err := datastores.ChooseStrategy(all, name.Namespace, name.Name)
	s.must(t, "strategy", err)
	return strategy
}

// backup makes one; parent may be nil.
func (s *server) backup(t *testing.T, name datastores.StrategyName, parent *backup) *backup {
	t.Helper()
	var stream bytes.Buffer
	b, err := s.backupTo(s.within(t), t, name, parent, &stream)
	s.must(t, "backup", err)
	b.stream = stream.Bytes()
	if len(b.stream) == 0 {
		t.Fatal("the backup is empty")
	}
	return b
}

func (s *server) backupTo(ctx context.Context, t *testing.T, name datastores.StrategyName, parent *backup, output io.Writer) (*backup, error) {
	t.Helper()
	req := datastores.BackupRequest{ID: newID(), Output: during{ctx: ctx, w: output}, Expect: func(total int64) {
		if total < 0 {
			t.Errorf("%d bytes are expected of a backup", total)
		}
	}}
	if parent != nil {
		link := parent.link()
		link.Open = nil // of a restore only
		req.Parent = &link
	}
	reply, err := s.backupStrategy(t, name).Backup(ctx, req)
	if err != nil {
		return nil, err
	}
	if reply.Meta != nil && (!json.Valid(reply.Meta) || len(reply.Meta) > 8<<10) {
		t.Errorf("meta is %d bytes, want JSON of at most 8 KiB: %.100s", len(reply.Meta), reply.Meta)
	}
	for _, secret := range []string{tenantPassword, rootPassword} {
		if strings.Contains(string(reply.Meta), secret) {
			t.Errorf("meta holds a password: %s", reply.Meta)
		}
	}
	return &backup{id: req.ID, meta: reply.Meta}, nil
}

// during is a reader and a writer, as the runtime's are: either fails as soon as the context has ended.
type during struct {
	ctx context.Context
	r   io.Reader
	w   io.Writer
}

func (d during) Read(p []byte) (int, error) {
	if err := d.ctx.Err(); err != nil {
		return 0, err
	}
	return d.r.Read(p)
}

func (d during) Write(p []byte) (int, error) {
	if err := d.ctx.Err(); err != nil {
		return 0, err
	}
	return d.w.Write(p)
}

// healthyBackup checks that after a backup that failed the server is well, and that one can be made.
func (s *server) healthyBackup(t *testing.T, name datastores.StrategyName) {
	t.Helper()
	s.wantStatus(t, datastores.StatusHealthy)
	s.write(t, 1)
	s.backup(t, name, nil)
}

// testBackupFails: what ends the stream ends the backup, with its reason, and nothing else.
func testBackupFails(t *testing.T, g *stage) {
	s := g.loaded(t)
	errFull := errors.New("the blob store is full")
	for _, after := range []int{0, 1000} {
		_, err := s.backupTo(s.within(t), t, g.strategy, nil, &failingWriter{after, errFull})
		wantReason(t, "backup whose output fails", err, errFull)
	}
	s.healthyBackup(t, g.strategy)
}

// testBackupCancelled ends a backup that has not begun, and one whose output is stuck.
func testBackupCancelled(t *testing.T, g *stage) {
	s := g.loaded(t)
	ctx, cancel := context.WithCancel(s.within(t))
	cancel()
	if _, err := s.backupTo(ctx, t, g.strategy, nil, io.Discard); err == nil {
		t.Error("a backup that was cancelled before has succeeded")
	}
	ctx, cancel = context.WithCancel(s.within(t))
	defer cancel()
	out, ended := s.stuckBackup(ctx, t, g.strategy)
	out.await(t, s)
	cancel()
	if err := ended(); err == nil {
		t.Error("a backup that was cancelled has succeeded")
	}
	s.manager = s.open(t)
	s.healthyBackup(t, g.strategy)
}

// testBackupOfKilled kills the server under a backup: that ends, and when the server runs again another is made.
func testBackupOfKilled(t *testing.T, g *stage) {
	s := g.loaded(t)
	if s.Kill == nil {
		t.Skip("the harness has no Kill: not tested")
	}
	s.writeEveryKind(t)
	out, ended := s.stuckBackup(s.within(t), t, g.strategy)
	out.await(t, s)
	s.must(t, "kill", s.Kill(s.within(t), s.env))
	close(out.opened)
	_ = ended() // what is small may have been read to its end before
	s.manager = s.open(t)
	s.start(t)
	s.next = s.contents(t).items // an item may have been written whose answer was lost
	s.wantKept(t)
	s.healthyBackup(t, g.strategy)
}

// stuckBackup begins a backup whose output is a gate. ended waits for it, not for long.
func (s *server) stuckBackup(ctx context.Context, t *testing.T, name datastores.StrategyName) (out *gate, ended func() error) {
	t.Helper()
	out = newGate(ctx)
	result := make(chan error, 1)
	go func() {
		_, err := s.backupTo(ctx, t, name, nil, out)
		result <- err
	}()
	return out, func() error {
		t.Helper()
		select {
		case err := <-result:
			return err
		case <-time.After(s.patience() / 4):
			t.Fatal("the backup does not end")
			return nil
		}
	}
}

// wantReason checks that err says why.
func wantReason(t *testing.T, what string, err, reason error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), reason.Error()) {
		t.Errorf("%s = %v, want an error that says: %v", what, err, reason)
	}
}

// failingWriter takes so many bytes, then fails.
type failingWriter struct {
	left int
	err  error
}

func (w *failingWriter) Write(p []byte) (int, error) {
	if len(p) > w.left {
		return 0, w.err
	}
	w.left -= len(p)
	return len(p), nil
}

// gate is an output that is stuck at its first byte until it is opened, or its context ends.
type gate struct {
	bytes.Buffer
	ctx     context.Context
	reached chan struct{}
	opened  chan struct{}
	once    sync.Once
}

func newGate(ctx context.Context) *gate {
	return &gate{ctx: ctx, reached: make(chan struct{}), opened: make(chan struct{})}
}

func (g *gate) Write(p []byte) (int, error) {
	g.once.Do(func() { close(g.reached) })
	select {
	case <-g.opened:
		return g.Buffer.Write(p)
	case <-g.ctx.Done():
		return 0, g.ctx.Err()
	}
}

// await returns when the first byte has come.
func (g *gate) await(t *testing.T, s *server) {
	t.Helper()
	select {
	case <-g.reached:
	case <-s.within(t).Done():
		t.Fatal("the backup writes nothing")
	}
}
