package guest

import (
	"cmp"
	"context"
	"fmt"
	"io"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/guest/stream"
)

// origin is what a new server begins with beside nothing: overrides, a backup, a source. It is found before anything is done.
type origin struct {
	overrides datastores.Values
	restore   *restoration
	replicate *datastores.Replicate
	cluster   *datastores.ClusterView
}

// originOf finds what args ask for; what does not fit together is Invalid.
func (g *Guest) originOf(s *served, args datastores.PrepareArgs) (o origin, err error) {
	if args.Replicate != nil && (len(args.Databases) > 0 || len(args.Users) > 0 || !args.RootPassword.IsZero()) {
		return o, datastores.Errorf(datastores.Invalid, "a replica has its source's databases, users and root: none can be made with it")
	}
	if args.Cluster != nil {
		if _, ok := s.manager.(datastores.Cluster); !ok || args.Replicate != nil {
			return o, datastores.Errorf(datastores.Unsupported, "a server of this datastore, or one that follows another, cannot be a cluster's member")
		}
		o.cluster = args.Cluster
	}
	if len(args.Overrides) > 0 {
		c, err := configurable(s.manager)
		if err != nil {
			return o, err
		}
		if err := checkOverrides(c, args.Overrides); err != nil {
			return o, err
		}
		o.overrides = args.Overrides
	}
	if args.Replicate != nil {
		if o.replicate, err = replicate(s, *args.Replicate); err != nil {
			return o, err
		}
	}
	if args.Restore != nil {
		if o.restore, err = g.restorationOf(s, *args.Restore); err == nil {
			o.overrides, err = o.restore.overrides(s.manager, o.overrides)
		}
	}
	return o, err
}

// overrides are those that a server made of the backups begins with, when values were asked for: what fixes the format of its files
// comes with them, and cannot be another.
func (r *restoration) overrides(m datastores.Manager, values datastores.Values) (datastores.Values, error) {
	fixed := r.chain[len(r.chain)-1].Fixed
	c, ok := m.(datastores.Configuration)
	if !ok || fixed == nil || r.strategy.Logical {
		return values, nil
	}
	if err := checkFixed(c, values, fixed); err != nil {
		return values, err
	}
	return union(values, fixed), nil
}

// request is what the manager is asked.
func (o origin) request(say func(string)) datastores.PrepareRequest {
	req := datastores.PrepareRequest{Progress: say, Overrides: o.overrides}
	if o.cluster != nil {
		req.Cluster = o.cluster
		req.Cluster.Progress = say
	}
	if o.restore != nil {
		req.Restore = o.restore.job(say)
	}
	if o.replicate != nil {
		req.Replicate = o.replicate
		req.Replicate.Request.Progress = say
	}
	return req
}

// restoration is a chain of backups with what it takes to read them.
type restoration struct {
	blobs    blobs
	strategy datastores.BackupStrategy
	key      []byte
	own      [][]byte // in place of key, for each of the chain
	chain    []datastores.BackupRef
	log      *datastores.ReplayArgs // nil: none is replayed
	logKey   []byte
}

func (g *Guest) restorationOf(s *served, args datastores.RestoreArgs) (*restoration, error) {
	if len(args.Chain) == 0 {
		return nil, datastores.Errorf(datastores.Invalid, "no backup is named to restore")
	}
	key, err := streamKey(args.Key)
	if err != nil {
		return nil, err
	}
	made := args.Chain[0].Strategy
	for _, ref := range args.Chain {
		if ref.Strategy != made {
			return nil, datastores.Errorf(datastores.Invalid, "backup %s was made with %s, the one it builds on with %s", ref.BackupID, ref.Strategy, made)
		}
	}
	made.Namespace = cmp.Or(s.options.RestoreNamespace, made.Namespace)
	strategy, err := strategyOf(s, made)
	if err != nil {
		return nil, err
	}
	if len(args.Chain) > 1 && !strategy.Incremental {
		return nil, datastores.Errorf(datastores.Invalid, "%d backups are to be restored one on another, and strategy %s cannot do that", len(args.Chain), made)
	}
	r := &restoration{blobs: g.blobs, strategy: strategy, key: key, chain: args.Chain, log: args.Log}
	if n := len(args.OwnKeys); n > 0 && n != len(args.Chain) {
		return nil, datastores.Errorf(datastores.Invalid, "%d keys for a chain of %d backups", n, len(args.Chain))
	}
	for _, secret := range args.OwnKeys {
		own, err := streamKey(secret)
		if err != nil {
			return nil, err
		}
		r.own = append(r.own, own)
	}
	if args.Log != nil {
		if !strategy.Replays {
			return nil, datastores.Errorf(datastores.Invalid, "a log is to be replayed, and strategy %s cannot do that", made)
		}
		if r.logKey, err = streamKey(args.Log.Key); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// job is what Prepare is given. It tells how much has been read beside what the strategy itself says.
func (r *restoration) job(say func(string)) *datastores.Restore {
	var total int64
	for _, ref := range r.chain {
		total += ref.Size
	}
	count := &meter{every: 8 << 20, tell: func(done int64) {
		say(fmt.Sprintf("restoring with %s: %d of %d MiB", r.strategy.Name, done>>20, total>>20))
	}}
	links := make([]datastores.BackupLink, len(r.chain))
	for i, ref := range r.chain {
		links[i] = datastores.BackupLink{ID: ref.BackupID, Meta: ref.Meta, Open: func(ctx context.Context) (io.ReadCloser, error) {
			body, err := r.open(ctx, i)
			if err != nil {
				return nil, err
			}
			return struct {
				io.Reader
				io.Closer
			}{io.TeeReader(body, count), body}, nil
		}}
	}
	return &datastores.Restore{Strategy: r.strategy, Request: datastores.RestoreRequest{Chain: links, Progress: say, Log: r.replay(say)}}
}

// open opens a backup of the chain.
func (r *restoration) open(ctx context.Context, i int) (io.ReadCloser, error) {
	ref := r.chain[i]
	from := segments{r.blobs, ref.BackupID}
	if r.own != nil {
		return stream.OpenOwn(ctx, from, ref, r.own[i])
	}
	return stream.Open(ctx, from, ref, r.key)
}

// replay is the log that is replayed after that; nil: none is. For a time no more is read than what tells that all before it was there,
// and one part beyond.
func (r *restoration) replay(say func(string)) *datastores.LogReplay {
	if r.log == nil {
		return nil
	}
	next, last := r.log.First, r.log.Last
	return &datastores.LogReplay{Time: r.log.Time, Position: r.log.Position, Next: func(ctx context.Context) (datastores.LogPart, error) {
		if next > last {
			return datastores.LogPart{}, io.EOF
		}
		part, err := stream.GetPart(ctx, segments{r.blobs, r.log.Window}, r.log.Window, int(next), r.logKey)
		if err != nil {
			return part, err
		}
		if t := r.log.Time; !t.IsZero() && part.At.After(t) {
			last = min(last, next+1)
		}
		say(fmt.Sprintf("replaying the log: part %d of %d", next-r.log.First+1, last-r.log.First+1))
		next++
		return part, nil
	}}
}
