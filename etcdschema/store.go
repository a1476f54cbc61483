package etcdschema

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cofferdb/coffer/etcdschema/strict"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	maxValue = 512 << 10 // bytes of one value
	maxOps   = 120       // of one transaction; etcd takes 128
)

// Store reads and changes the records. It is safe for concurrent use.
type Store struct {
	client   *clientv3.Client
	group    group
	buckets  buckets
	recent   recent
	judged   judged
	full     lastTime // when etcd was seen without space
	log      *slog.Logger
	watchdog time.Duration // how long etcd may keep a watch without an answer, about a third of it
}

// ErrNotFound is returned by [Get] when there is no such record.
var ErrNotFound = errors.New("no such record")

// ErrConflict is returned by [Store.Update] when others kept changing the same records for too long.
var ErrConflict = errors.New("the records kept changing; try again")

// Record is a value and the revisions it was read at.
type Record[T any] struct {
	Key     string
	Value   T
	Found   bool
	Created int64 // revision that created it
	Changed int64 // revision that changed it last
}

// Get reads one record. [ErrNotFound] when it is not there.
func Get[T any](ctx context.Context, s *Store, k Key[T]) (Record[T], error) {
	if k.err != nil {
		return Record[T]{}, k.err
	}
	resp, err := s.client.Get(ctx, k.path)
	if err != nil {
		return Record[T]{}, fmt.Errorf("cannot read %s: %w", k.path, err)
	}
	if len(resp.Kvs) == 0 {
		return Record[T]{Key: k.path}, fmt.Errorf("%s: %w", k.path, ErrNotFound)
	}
	kv := resp.Kvs[0]
	return decodeRecord[T](k.path, kv.Value, kv.CreateRevision, kv.ModRevision)
}

// Page asks for a part of a list, in the order of keys.
type Page struct {
	Limit    int    // 0: everything
	After    string // the name after which to begin; "": at the first
	Revision int64  // read the list as of this revision; 0: now
}

// Listing is a part of a list.
type Listing[T any] struct {
	Records  []Record[T]
	More     bool
	Last     string // the name of the last record read, good or bad: the After of the next page
	Revision int64
	// Bad holds an *ErrBadRecord for each record that could not be decoded; they are left out.
	Bad []error
}

// List reads the records under a prefix.
func List[T any](ctx context.Context, s *Store, p Prefix[T], page Page) (Listing[T], error) {
	var l Listing[T]
	if p.err != nil {
		return l, p.err
	}
	from := p.path
	if page.After != "" {
		from = p.path + page.After + "\x00"
	}
	opts := []clientv3.OpOption{clientv3.WithRange(clientv3.GetPrefixRangeEnd(p.path)), clientv3.WithLimit(int64(page.Limit))}
	if page.Revision > 0 {
		opts = append(opts, clientv3.WithRev(page.Revision))
	}
	resp, err := s.client.Get(ctx, from, opts...)
	if err != nil {
		return l, fmt.Errorf("cannot list %s: %w", p.path, err)
	}
	l.More, l.Revision = resp.More, resp.Header.Revision
	for _, kv := range resp.Kvs {
		l.Last = p.Name(string(kv.Key))
		r, err := decodeRecord[T](string(kv.Key), kv.Value, kv.CreateRevision, kv.ModRevision)
		if err != nil {
			l.Bad = append(l.Bad, err)
			continue
		}
		l.Records = append(l.Records, r)
	}
	return l, nil
}

// Count counts the records under a prefix without reading them.
func Count[T any](ctx context.Context, s *Store, p Prefix[T]) (int64, error) {
	if p.err != nil {
		return 0, p.err
	}
	resp, err := s.client.Get(ctx, p.path, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return 0, fmt.Errorf("cannot count %s: %w", p.path, err)
	}
	return resp.Count, nil
}

// Ping reads nothing, with the same guarantees as any read: it fails when etcd has no leader or cannot be reached.
func (s *Store) Ping(ctx context.Context) error {
	_, err := s.client.Get(ctx, ServerPrefix, clientv3.WithCountOnly())
	return err
}

// Close ends the connection to etcd.
func (s *Store) Close() error {
	err := s.client.Close()
	s.group.flights.Wait()
	return err
}

// Op is one change of a transaction.
type Op struct {
	path    string
	value   any
	delete  bool
	all     bool // delete everything below path
	ttl     time.Duration
	session *Session
	err     error
}

// Put sets a record.
func Put[T any](k Key[T], v T) Op { return Op{path: k.path, value: v, err: k.err} }

// Delete removes a record; one that is not there is no error.
func Delete[T any](k Key[T]) Op { return Op{path: k.path, delete: true, err: k.err} }

// DeleteAll removes every record under a prefix. The prefix is not guarded: only its own transaction's reads are.
func DeleteAll[T any](p Prefix[T]) Op { return Op{path: p.path, delete: true, all: true, err: p.err} }

// For lets the record vanish some time after ttl (at most twice ttl: leases are shared in buckets).
func (o Op) For(ttl time.Duration) Op { o.ttl = ttl; return o }

// On lets the record vanish when the session ends.
func (o Op) On(s *Session) Op { o.session = s; return o }

// ErrTooLarge is the error of a record that is larger than a record may be.
var ErrTooLarge = errors.New("the record is too large")

// encode writes a value as JSON with its format number in front.
func encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(b) < 2 || b[0] != '{' {
		return nil, fmt.Errorf("a %T is no JSON object", v)
	}
	out := fmt.Appendf(nil, `{"v":%d`, strict.Format)
	if len(b) > 2 {
		out = append(out, ',')
	}
	out = append(out, b[1:]...)
	if len(out) > maxValue {
		return nil, fmt.Errorf("%w: %d bytes are more than the %d that a value may have", ErrTooLarge, len(out), maxValue)
	}
	return out, nil
}

// Decode reads a value as the gateway wrote it, or, for what operators write, as JSON or YAML: strictly, and its error
// is a *multierror.Error of *[strict.OptionError] with everything that is wrong. A format number that this version does not
// know is an error; a guest's options are returned without it.
func Decode[T any](value []byte) (T, error) {
	var v T
	switch into := any(&v).(type) {
	case strict.Definition:
		return v, strict.Decode(value, into)
	case *json.RawMessage:
		options, err := strict.Options(value)
		*into = options
		return v, err
	}
	if err := checkFormat(value); err != nil {
		return v, err
	}
	return v, json.Unmarshal(value, &v)
}

// ours is how a value begins that this version wrote: it need not be decoded twice.
var ours = fmt.Appendf(nil, `{"v":%d,`, strict.Format)

func checkFormat(value []byte) error {
	if bytes.HasPrefix(value, ours) {
		return nil
	}
	var f struct {
		V *int `json:"v"`
	}
	if err := json.Unmarshal(value, &f); err != nil {
		return err
	}
	if f.V != nil && *f.V != strict.Format {
		return fmt.Errorf("format %d; this version of Coffer reads format %d", *f.V, strict.Format)
	}
	return nil
}

// ErrBadRecord is what a record that is there and cannot be read gives.
type ErrBadRecord struct {
	Key string
	Err error
}

func (e *ErrBadRecord) Error() string { return e.Key + ": " + e.Err.Error() }
func (e *ErrBadRecord) Unwrap() error { return e.Err }

func decodeRecord[T any](path string, value []byte, created, changed int64) (Record[T], error) {
	r := Record[T]{Key: path, Found: true, Created: created, Changed: changed}
	v, err := Decode[T](value)
	if err != nil {
		return r, &ErrBadRecord{Key: path, Err: err}
	}
	r.Value = v
	return r, nil
}
