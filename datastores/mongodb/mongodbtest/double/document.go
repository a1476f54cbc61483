package double

import (
	"bytes"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// get is the value at a dotted path.
func get(d bson.D, path string) (any, bool) {
	name, rest, nested := strings.Cut(path, ".")
	for _, e := range d {
		if e.Key != name {
			continue
		}
		if !nested {
			return e.Value, true
		}
		inner, ok := e.Value.(bson.D)
		if !ok {
			return nil, false
		}
		return get(inner, rest)
	}
	return nil, false
}

// set returns d with the value at a dotted path.
func withValue(d bson.D, path string, value any) bson.D {
	name, rest, nested := strings.Cut(path, ".")
	d = append(bson.D{}, d...)
	for i, e := range d {
		if e.Key == name {
			if nested {
				inner, _ := e.Value.(bson.D)
				value = withValue(inner, rest, value)
			}
			d[i].Value = value
			return d
		}
	}
	if nested {
		value = withValue(bson.D{}, rest, value)
	}
	return append(d, bson.E{Key: name, Value: value})
}

// unset returns d without what is at a name.
func unset(d bson.D, name string) (rest bson.D) {
	for _, e := range d {
		if e.Key != name {
			rest = append(rest, e)
		}
	}
	return rest
}

func text(d bson.D, name string) string {
	v, _ := get(d, name)
	s, _ := v.(string)
	return s
}

func document(d bson.D, name string) bson.D {
	v, _ := get(d, name)
	inner, _ := v.(bson.D)
	return inner
}

func documents(d bson.D, name string) (all []bson.D) {
	v, _ := get(d, name)
	list, _ := v.(bson.A)
	for _, v := range list {
		if inner, ok := v.(bson.D); ok {
			all = append(all, inner)
		}
	}
	return all
}

func truth(d bson.D, name string) bool {
	v, _ := get(d, name)
	if b, ok := v.(bool); ok {
		return b
	}
	n, ok := number(v)
	return ok && n != 0
}

func integer(d bson.D, name string) int64 {
	v, _ := get(d, name)
	n, _ := number(v)
	return int64(n)
}

func number(v any) (float64, bool) {
	switch n := v.(type) {
	case int32:
		return float64(n), true
	case int64:
		return float64(n), true
	case float64:
		return n, true
	}
	return 0, false
}

// compare orders two values of one type, as far as the double knows types.
func compare(a, b any) (order int, comparable bool) {
	if x, ok := number(a); ok {
		y, ok := number(b)
		switch {
		case x < y:
			return -1, ok
		case x > y:
			return 1, ok
		}
		return 0, ok
	}
	switch x := a.(type) {
	case string:
		y, ok := b.(string)
		return strings.Compare(x, y), ok
	case bson.Timestamp:
		y, ok := b.(bson.Timestamp)
		return x.Compare(y), ok
	}
	return bytes.Compare(identity(a), identity(b)), fmt.Sprintf("%T", a) == fmt.Sprintf("%T", b)
}

// identity is what tells a value from others.
func identity(v any) []byte {
	if n, ok := number(v); ok {
		v = n
	}
	_, b, err := bson.MarshalValue(v)
	if err != nil {
		return fmt.Appendf(nil, "%T %v", v, v)
	}
	return append(fmt.Appendf(nil, "%T ", v), b...)
}

// matches reports whether a document fits a filter: equality, $eq, $ne, $gt, $gte, $lt, $lte, $in, $exists, $and and $or.
func matches(d, filter bson.D) (bool, error) {
	for _, f := range filter {
		ok, err := matchesOne(d, f)
		if !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

func matchesOne(d bson.D, f bson.E) (bool, error) {
	switch f.Key {
	case "$and", "$or":
		any := false
		for _, inner := range documents(bson.D{f}, f.Key) {
			ok, err := matches(d, inner)
			if err != nil || !ok && f.Key == "$and" {
				return false, err
			}
			any = any || ok
		}
		return any || f.Key == "$and", nil
	case "$comment":
		return true, nil
	}
	if strings.HasPrefix(f.Key, "$") {
		return false, refuse(badValue, "unknown top level operator: "+f.Key)
	}
	value, there := get(d, f.Key)
	conditions, ok := f.Value.(bson.D)
	if !ok || len(conditions) == 0 || !strings.HasPrefix(conditions[0].Key, "$") {
		return there && bytes.Equal(identity(value), identity(f.Value)), nil
	}
	for _, c := range conditions {
		ok, err := holds(value, there, c)
		if !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

func holds(value any, there bool, c bson.E) (bool, error) {
	order, comparable := compare(value, c.Value)
	switch c.Key {
	case "$eq":
		return there && comparable && order == 0, nil
	case "$ne":
		return !there || !comparable || order != 0, nil
	case "$gt":
		return there && comparable && order > 0, nil
	case "$gte":
		return there && comparable && order >= 0, nil
	case "$lt":
		return there && comparable && order < 0, nil
	case "$lte":
		return there && comparable && order <= 0, nil
	case "$exists":
		return there == truth(bson.D{c}, c.Key), nil
	case "$in":
		list, _ := c.Value.(bson.A)
		for _, v := range list {
			if there && bytes.Equal(identity(value), identity(v)) {
				return true, nil
			}
		}
		return false, nil
	}
	return false, refuse(badValue, "unknown operator: "+c.Key)
}

// changed is a document after an update: a replacement, or $set, $unset, $inc, $push and $setOnInsert.
func changed(d, update bson.D, inserts bool) (bson.D, error) {
	if len(update) == 0 || !strings.HasPrefix(update[0].Key, "$") {
		id, there := get(d, "_id")
		if there {
			update = append(bson.D{{Key: "_id", Value: id}}, unset(update, "_id")...)
		}
		return update, nil
	}
	for _, operator := range update {
		values, ok := operator.Value.(bson.D)
		if !ok {
			return nil, refuse(failedToParse, "modifiers operate on fields")
		}
		for _, e := range values {
			old, _ := get(d, e.Key)
			switch operator.Key {
			case "$set":
				d = withValue(d, e.Key, e.Value)
			case "$setOnInsert":
				if inserts {
					d = withValue(d, e.Key, e.Value)
				}
			case "$unset":
				d = unset(d, e.Key)
			case "$inc":
				d = withValue(d, e.Key, sum(old, e.Value))
			case "$push":
				list, _ := old.(bson.A)
				d = withValue(d, e.Key, append(append(bson.A{}, list...), e.Value))
			default:
				return nil, refuse(failedToParse, "Unknown modifier: "+operator.Key)
			}
		}
	}
	return d, nil
}

func sum(a, b any) any {
	x, _ := number(a)
	y, _ := number(b)
	if _, ok := b.(float64); ok {
		return x + y
	}
	return int64(x + y)
}
