package guest

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agent"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/guest/stream"
)

// blobs is what a guest asks of its agent for the bytes of backups and logs.
type blobs interface {
	PutSegment(ctx context.Context, backupID string, n int, body []byte) error
	GetSegment(ctx context.Context, backupID string, n int) ([]byte, error)
	PutLogChunk(ctx context.Context, log string, n int, body []byte) error
	DeleteLog(ctx context.Context, log string) error
}

// segments are those of one backup.
type segments struct {
	blobs
	backupID string
}

func (s segments) Put(ctx context.Context, n int, body []byte) error {
	return s.PutSegment(ctx, s.backupID, n, body)
}

func (s segments) Get(ctx context.Context, n int) ([]byte, error) {
	return s.GetSegment(ctx, s.backupID, n)
}

const maxMeta = 8 << 10 // see datastores.BackupReply

func (g *Guest) createBackup(ctx context.Context, cmd agent.Command, args datastores.BackupArgs) (datastores.BackupResult, error) {
	return g.backup(ctx, cmd, args, func(s *served) (datastores.BackupStrategy, error) {
		return backupStrategy(s, args)
	})
}

// backup makes a backup aside: tenants' calls go on meanwhile. It begins in its turn, so that nothing starts or stops the
// server then; what will do so later ends it.
func (g *Guest) backup(ctx context.Context, cmd agent.Command, args datastores.BackupArgs,
	choose func(*served) (datastores.BackupStrategy, error),
) (result datastores.BackupResult, err error) {
	key, err := streamKey(args.Key)
	if err != nil {
		return result, err
	}
	var done func(error) error
	strategy, err := inTurn(ctx, g, g.usable, func(s *served) (strategy datastores.BackupStrategy, err error) {
		if strategy, err = choose(s); err == nil {
			ctx, done, err = g.aside.begin(ctx)
		}
		return strategy, err
	})
	if err != nil {
		return result, err
	}
	defer debug.FreeOSMemory() // segments and the compressor took more than an idle guest may
	result, err = g.send(ctx, cmd.Progress, args, strategy, key)
	if err = done(err); err != nil {
		return datastores.BackupResult{}, fmt.Errorf("backup with %s: %w", strategy.Name, err)
	}
	return result, nil
}

// send runs a strategy and sends what it writes.
func (g *Guest) send(ctx context.Context, progress func(agentpoll.Progress), args datastores.BackupArgs,
	strategy datastores.BackupStrategy, key []byte,
) (result datastores.BackupResult, err error) {
	var total atomic.Int64
	count := meter{every: 1, tell: func(done int64) {
		p := agentpoll.Progress{Done: done, Unit: "bytes", Message: "backing up with " + strategy.Name}
		if expected := total.Load(); expected > 0 {
			p.Total = max(done, expected)
		}
		progress(p)
	}}
	req := datastores.BackupRequest{ID: args.BackupID, Expect: total.Store}
	if args.Parent != nil {
		req.Parent = &datastores.BackupLink{ID: args.Parent.BackupID, Meta: args.Parent.Meta}
	}
	count.tell(0)
	var reply datastores.BackupReply
	result.BackupRef, err = stream.Write(ctx, segments{g.blobs, args.BackupID}, args.BackupID, key, func(w io.Writer) (err error) {
		req.Output = io.MultiWriter(w, &count)
		reply, err = strategy.Backup(ctx, req)
		return err
	})
	if err == nil && len(reply.Meta) > maxMeta {
		err = fmt.Errorf("what is to be known of the backup takes %d bytes; at most %d may be kept", len(reply.Meta), maxMeta)
	}
	result.At = time.Now().UTC()
	result.BackupID, result.Strategy, result.Meta = args.BackupID, strategy.StrategyName, reply.Meta
	result.Fixed = union(nil, g.state.get().Overrides.Fixed)
	result.Used = result.Size
	if usage := g.volume.usage(); usage != nil && g.volume.own() {
		result.Used = max(usage.Used-reply.Without, 0)
	}
	return result, err
}

// backupStrategy chooses: the parent's when there is one, else what the guest options name, else what the gateway does.
func backupStrategy(s *served, args datastores.BackupArgs) (datastores.BackupStrategy, error) {
	if args.Parent != nil {
		return incrementalStrategy(s, *args.Parent)
	}
	name := s.options.BackupStrategy
	if name == "" {
		name = args.Strategy
	}
	return strategyOf(s, datastores.StrategyName{Namespace: s.options.BackupNamespace, Name: name})
}

func incrementalStrategy(s *served, parent datastores.BackupRef) (datastores.BackupStrategy, error) {
	strategy, err := strategyOf(s, parent.Strategy)
	if err == nil && !strategy.Incremental {
		err = datastores.Errorf(datastores.Invalid, "backup %s was made with %s, on which no other backup can build: make a full one",
			parent.BackupID, strategy.Name)
	}
	return strategy, err
}

// strategyOf finds a strategy of the manager; an empty namespace is any, an empty name the first.
func strategyOf(s *served, name datastores.StrategyName) (strategy datastores.BackupStrategy, err error) {
	b, ok := s.manager.(datastores.Backups)
	if !ok {
		return strategy, datastores.Errorf(datastores.Unsupported, "this datastore makes no backups")
	}
	return datastores.ChooseStrategy(b.BackupStrategies(), name.Namespace, name.Name)
}

// streamKey reads the key of a backup's stream; nil: it is not sealed.
func streamKey(secret datastores.Secret) ([]byte, error) {
	if secret.IsZero() {
		return nil, nil
	}
	key, err := base64.StdEncoding.DecodeString(secret.Reveal())
	if err != nil || len(key) != 32 {
		return nil, datastores.Errorf(datastores.Invalid, "the key of the backup is not 32 bytes in base64")
	}
	return key, nil
}
