package double

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// record is a line of the journal. Those with Kind "" are writes: i, u, d, c and n as in MongoDB's oplog.
type record struct {
	Kind   string         `bson:"k,omitempty"` // "": a write; standalone: one that is in no oplog; set: what a member remembers; local, cleared, rolled: see below
	TS     bson.Timestamp `bson:"ts"`
	Term   int64          `bson:"t"`
	Op     string         `bson:"op"`
	NS     string         `bson:"ns"`
	Object bson.D         `bson:"o"`
	Which  bson.D         `bson:"o2,omitempty"`
}

const (
	standaloneKind = "standalone"
	memberKind     = "set"
	droppedKind    = "local"   // the database local was dropped
	clearedKind    = "cleared" // a member begins to copy another
	rolledKind     = "rolled"  // a member takes back what came after a time

	flushEvery = 100 * time.Millisecond // as storage.journal.commitIntervalMs
)

// collection is the documents of a namespace, in the order in which they were made.
type collection struct {
	order   []string
	byID    map[string]bson.D
	indexes []bson.D
}

// store is all data. Its owner locks it.
type store struct {
	file    *os.File
	pending []byte // records that were acknowledged without j and are not written yet
	all     map[string]*collection
	oplog   []record
	lines   []record // what made the data, for a rollback
	last    record   // the newest that has a time
	durable moment   // the newest that is on the disk
	member  bson.D   // what the member of a replica set remembers
	version string   // featureCompatibilityVersion
}

// openStore reads the journal in dbPath. Another mongod that has it open is an error, as mongod.lock makes it.
func openStore(dbPath, version string) (*store, error) {
	file, err := os.OpenFile(filepath.Join(dbPath, "journal.double"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("DBPathInUse: another mongod has %s open: %w", dbPath, err)
	}
	s := &store{file: file, all: map[string]*collection{}}
	whole, err := s.replay(bufio.NewReader(file))
	if err == nil {
		err = file.Truncate(whole) // a record that was cut was never acknowledged
	}
	s.durable = s.last.moment()
	if err == nil && s.version == "" {
		err = s.setVersion(version)
	}
	return s, err
}

func (s *store) replay(from io.Reader) (whole int64, err error) {
	for {
		b, err := readDocument(from)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return whole, nil
		}
		if err != nil {
			return whole, err
		}
		var r record
		if err := bson.Unmarshal(b, &r); err != nil {
			return whole, err
		}
		s.remember(r)
		whole += int64(len(b))
	}
}

func readDocument(from io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(from, size[:]); err != nil {
		return nil, err
	}
	n := int(binary.LittleEndian.Uint32(size[:]))
	if n < 5 || n > 64<<20 {
		return nil, fmt.Errorf("a document of %d bytes is none", n)
	}
	b := make([]byte, n)
	copy(b, size[:])
	_, err := io.ReadFull(from, b[4:])
	return b, err
}

// write makes a record last: with the next flush, or at once.
func (s *store) write(r record) error {
	b, err := bson.Marshal(r)
	if err != nil {
		return err
	}
	var asRead record // so that memory holds what a restart would find
	if err := bson.Unmarshal(b, &asRead); err != nil {
		return err
	}
	s.pending = append(s.pending, b...)
	s.remember(asRead)
	return nil
}

// flush writes what is pending and syncs it.
func (s *store) flush() error {
	if len(s.pending) == 0 {
		return nil
	}
	_, err := s.file.Write(s.pending)
	if err == nil {
		err = s.file.Sync()
	}
	s.pending = nil
	if err == nil {
		s.durable = s.last.moment()
	}
	return err
}

// remember has the memory follow the journal.
func (s *store) remember(r record) {
	switch r.Kind {
	case memberKind:
		s.member = r.Object
	case droppedKind:
		s.oplog, s.member = nil, nil
		for i := range s.lines {
			s.lines[i].Kind = standaloneKind
		}
	case clearedKind:
		s.clear()
	case rolledKind:
		lines := s.lines
		s.clear()
		for _, line := range lines {
			if line.Kind == standaloneKind || line.TS.Compare(r.TS) <= 0 {
				s.remember(line)
			}
		}
	case standaloneKind:
		s.lines = append(s.lines, r)
		s.apply(r)
	default:
		s.lines = append(s.lines, r)
		s.oplog = append(s.oplog, r)
		s.last = r
		s.apply(r)
	}
}

func (s *store) clear() {
	s.oplog, s.lines, s.all, s.last = nil, nil, map[string]*collection{}, record{}
}

func (s *store) apply(r record) {
	switch r.Op {
	case "i", "u":
		c := s.all[r.NS]
		if c == nil {
			c = &collection{byID: map[string]bson.D{}}
			s.all[r.NS] = c
		}
		id, _ := get(r.Object, "_id")
		key := string(identity(id))
		if _, there := c.byID[key]; !there {
			c.order = append(c.order, key)
		}
		c.byID[key] = r.Object
		if r.NS == versionNamespace {
			s.version = text(r.Object, "version")
		}
	case "d":
		if c := s.all[r.NS]; c != nil {
			id, _ := get(r.Which, "_id")
			key := string(identity(id))
			delete(c.byID, key)
			for i, other := range c.order {
				if other == key {
					c.order = append(c.order[:i:i], c.order[i+1:]...)
					break
				}
			}
		}
	case "c":
		s.applyCommand(r)
	}
}

func (s *store) applyCommand(r record) {
	database, _, _ := strings.Cut(r.NS, ".")
	command := r.Object[0]
	name, _ := command.Value.(string)
	namespace := database + "." + name
	switch command.Key {
	case "create":
		if s.all[namespace] == nil {
			s.all[namespace] = &collection{byID: map[string]bson.D{}}
		}
	case "drop":
		delete(s.all, namespace)
	case "dropDatabase":
		for ns := range s.all {
			if strings.HasPrefix(ns, database+".") {
				delete(s.all, ns)
			}
		}
	case "createIndexes":
		if c := s.all[namespace]; c != nil {
			c.indexes = append(c.indexes, documents(r.Object, "indexes")...)
		}
	case "renameCollection":
		to := text(r.Object, "to")
		if c := s.all[name]; c != nil {
			delete(s.all, name)
			s.all[to] = c
		}
	}
}

const versionNamespace = "admin.system.version"

func splitNamespace(ns string) (database, name string, ok bool) { return strings.Cut(ns, ".") }

func (s *store) setVersion(version string) error {
	return s.write(record{Kind: standaloneKind, Op: "u", NS: versionNamespace, Object: bson.D{
		{Key: "_id", Value: "featureCompatibilityVersion"}, {Key: "version", Value: version},
	}})
}

// next is a time later than all before.
func (s *store) next() bson.Timestamp {
	now := bson.Timestamp{T: uint32(time.Now().Unix()), I: 1}
	if now.Compare(s.last.TS) <= 0 {
		now = bson.Timestamp{T: s.last.TS.T, I: s.last.TS.I + 1}
	}
	return now
}

func (s *store) documents(namespace string) (all []bson.D) {
	if c := s.all[namespace]; c != nil {
		for _, key := range c.order {
			all = append(all, c.byID[key])
		}
	}
	return all
}

func (s *store) find(namespace string, filter bson.D) (all []bson.D, err error) {
	list := s.documents(namespace)
	if namespace == "local.oplog.rs" {
		list = s.oplogDocuments()
	}
	for _, d := range list {
		ok, err := matches(d, filter)
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, d)
		}
	}
	return all, nil
}

func (s *store) oplogDocuments() (all []bson.D) {
	for _, r := range s.oplog {
		b, err := bson.Marshal(r)
		if err != nil {
			continue
		}
		var d bson.D
		if bson.Unmarshal(b, &d) == nil {
			all = append(all, d)
		}
	}
	return all
}

// databases are those that have a collection.
func (s *store) databases() map[string]bool {
	all := map[string]bool{}
	for ns := range s.all {
		name, _, _ := strings.Cut(ns, ".")
		all[name] = true
	}
	if s.member != nil {
		all["local"] = true
	}
	return all
}
