package double

import (
	"errors"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// each runs a write for every document of a command, and tells of those that failed.
func (r *request) each(field string, do func(d bson.D) error) (failures bson.A, err error) {
	ordered, given := get(r.command, "ordered")
	for i, d := range documents(r.command, field) {
		err := do(d)
		var refused refusal
		if err == nil {
			continue
		}
		if !errors.As(err, &refused) {
			return nil, err
		}
		failures = append(failures, bson.D{{Key: "index", Value: int32(i)}, {Key: "code", Value: refused.code}, {Key: "errmsg", Value: refused.message}})
		if !given || ordered == true {
			break
		}
	}
	return failures, nil
}

func written(n int, failures bson.A, more ...bson.E) bson.D {
	reply := append(bson.D{{Key: "n", Value: int32(n)}}, more...)
	if len(failures) > 0 {
		reply = append(reply, bson.E{Key: "writeErrors", Value: failures})
	}
	return reply
}

func insert(r *request) (bson.D, error) {
	name, n := text(r.command, "insert"), 0
	if err := r.checkName(name); err != nil {
		return nil, err
	}
	failures, err := r.each("documents", func(d bson.D) error {
		n++
		if err := r.insertOne(r.database+"."+name, d); err != nil {
			n--
			return err
		}
		return nil
	})
	return written(n, failures), err
}

func (r *request) insertOne(namespace string, d bson.D) error {
	if _, there := get(d, "_id"); !there {
		d = append(bson.D{{Key: "_id", Value: bson.NewObjectID()}}, d...)
	}
	if err := r.checkUnique(namespace, d); err != nil {
		return err
	}
	return r.log(record{Op: "i", NS: namespace, Object: d})
}

// checkUnique refuses a document whose _id another has, or a value of a unique index.
func (r *request) checkUnique(namespace string, d bson.D) error {
	c := r.mongod.store.all[namespace]
	if c == nil {
		return nil
	}
	id, _ := get(d, "_id")
	if _, taken := c.byID[string(identity(id))]; taken {
		return refuse(duplicateKey, fmt.Sprintf("E11000 duplicate key error collection: %s index: _id_", namespace))
	}
	for _, index := range c.indexes {
		if !truth(index, "unique") {
			continue
		}
		var same bson.D
		for _, key := range document(index, "key") {
			value, _ := get(d, key.Key)
			same = append(same, bson.E{Key: key.Key, Value: value})
		}
		if others, err := r.mongod.store.find(namespace, same); err != nil || len(others) > 0 {
			return refuse(duplicateKey, fmt.Sprintf("E11000 duplicate key error collection: %s index: %s", namespace, text(index, "name")))
		}
	}
	return nil
}

func update(r *request) (bson.D, error) {
	namespace := r.database + "." + text(r.command, "update")
	n, modified, upserted := 0, 0, bson.A{}
	if err := r.checkName(text(r.command, "update")); err != nil {
		return nil, err
	}
	failures, err := r.each("updates", func(d bson.D) error {
		found, err := r.mongod.store.find(namespace, document(d, "q"))
		if err != nil {
			return err
		}
		if len(found) == 0 && truth(d, "upsert") {
			made, err := r.upsert(namespace, document(d, "q"), document(d, "u"))
			if err != nil {
				return err
			}
			id, _ := get(made, "_id")
			upserted = append(upserted, bson.D{{Key: "index", Value: int32(len(upserted))}, {Key: "_id", Value: id}})
			n++
			return nil
		}
		if !truth(d, "multi") {
			found = found[:min(1, len(found))]
		}
		for _, old := range found {
			after, err := changed(old, document(d, "u"), false)
			if err != nil {
				return err
			}
			if err := r.log(record{Op: "u", NS: namespace, Object: after}); err != nil {
				return err
			}
			n, modified = n+1, modified+1
		}
		return nil
	})
	more := []bson.E{{Key: "nModified", Value: int32(modified)}}
	if len(upserted) > 0 {
		more = append(more, bson.E{Key: "upserted", Value: upserted})
	}
	return written(n, failures, more...), err
}

func (r *request) upsert(namespace string, filter, change bson.D) (bson.D, error) {
	var d bson.D
	for _, f := range filter {
		if _, nested := f.Value.(bson.D); !nested && !strings.HasPrefix(f.Key, "$") {
			d = append(d, f)
		}
	}
	d, err := changed(d, change, true)
	if err != nil {
		return nil, err
	}
	if _, there := get(d, "_id"); !there {
		d = append(bson.D{{Key: "_id", Value: bson.NewObjectID()}}, d...)
	}
	return d, r.insertOne(namespace, d)
}

func remove(r *request) (bson.D, error) {
	namespace, n := r.database+"."+text(r.command, "delete"), 0
	failures, err := r.each("deletes", func(d bson.D) error {
		found, err := r.mongod.store.find(namespace, document(d, "q"))
		if err != nil {
			return err
		}
		if limit := int(integer(d, "limit")); limit > 0 {
			found = found[:min(limit, len(found))]
		}
		for _, old := range found {
			id, _ := get(old, "_id")
			if err := r.log(record{Op: "d", NS: namespace, Which: bson.D{{Key: "_id", Value: id}}}); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return written(n, failures), err
}

func findAndModify(r *request) (bson.D, error) {
	namespace := r.database + "." + text(r.command, "findAndModify")
	found, err := r.mongod.store.find(namespace, document(r.command, "query"))
	if err != nil {
		return nil, err
	}
	var before, after bson.D
	switch {
	case len(found) == 0 && truth(r.command, "upsert"):
		after, err = r.upsert(namespace, document(r.command, "query"), document(r.command, "update"))
	case len(found) == 0:
	case truth(r.command, "remove"):
		before = found[0]
		id, _ := get(before, "_id")
		err = r.log(record{Op: "d", NS: namespace, Which: bson.D{{Key: "_id", Value: id}}})
	default:
		before = found[0]
		if after, err = changed(before, document(r.command, "update"), false); err == nil {
			err = r.log(record{Op: "u", NS: namespace, Object: after})
		}
	}
	value := any(before)
	if truth(r.command, "new") {
		value = after
	}
	if d, ok := value.(bson.D); ok && d == nil {
		value = nil
	}
	return bson.D{{Key: "lastErrorObject", Value: bson.D{{Key: "n", Value: int32(len(found[:min(1, len(found))]))}}}, {Key: "value", Value: value}}, err
}

func create(r *request) (bson.D, error) {
	name := text(r.command, "create")
	if err := r.checkName(name); err != nil {
		return nil, err
	}
	if r.mongod.store.all[r.database+"."+name] != nil {
		return nil, refuse(namespaceExists, fmt.Sprintf("Collection %s.%s already exists.", r.database, name))
	}
	return nil, r.log(record{Op: "c", NS: r.database + ".$cmd", Object: bson.D{{Key: "create", Value: name}}})
}

func drop(r *request) (bson.D, error) {
	name := text(r.command, "drop")
	if r.mongod.store.all[r.database+"."+name] == nil {
		return nil, nil // since 7.0 that is no error
	}
	return nil, r.log(record{Op: "c", NS: r.database + ".$cmd", Object: bson.D{{Key: "drop", Value: name}}})
}

// dropDatabase of local is possible of a standalone server alone; it forgets the replica set and its oplog.
func dropDatabase(r *request) (bson.D, error) {
	if r.database == "local" {
		if r.mongod.set != nil {
			return nil, refuse(kind{20, "IllegalOperation"}, "Cannot drop 'local' database while replication is active")
		}
		r.wrote = true
		return nil, r.mongod.store.write(record{Kind: droppedKind})
	}
	if r.database == "admin" {
		return nil, refuse(kind{20, "IllegalOperation"}, "Dropping the 'admin' database is prohibited.")
	}
	return nil, r.log(record{Op: "c", NS: r.database + ".$cmd", Object: bson.D{{Key: "dropDatabase", Value: int32(1)}}})
}

func createIndexes(r *request) (bson.D, error) {
	name := text(r.command, "createIndexes")
	if err := r.checkName(name); err != nil {
		return nil, err
	}
	if r.mongod.store.all[r.database+"."+name] == nil {
		if err := r.log(record{Op: "c", NS: r.database + ".$cmd", Object: bson.D{{Key: "create", Value: name}}}); err != nil {
			return nil, err
		}
	}
	indexes, _ := get(r.command, "indexes")
	return nil, r.log(record{Op: "c", NS: r.database + ".$cmd", Object: bson.D{{Key: "createIndexes", Value: name}, {Key: "indexes", Value: indexes}}})
}

func rename(r *request) (bson.D, error) {
	from, to := text(r.command, "renameCollection"), text(r.command, "to")
	if r.database != "admin" {
		return nil, refuse(unauthorized, "renameCollection may only be run against the admin database.")
	}
	if r.mongod.store.all[from] == nil {
		return nil, refuse(namespaceNotFound, "Source collection "+from+" does not exist")
	}
	if r.mongod.store.all[to] != nil {
		return nil, refuse(namespaceExists, "target namespace exists")
	}
	database, _, _ := strings.Cut(from, ".")
	return nil, r.log(record{Op: "c", NS: database + ".$cmd", Object: bson.D{{Key: "renameCollection", Value: from}, {Key: "to", Value: to}}})
}
