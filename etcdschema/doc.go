// Package etcdschema is what Coffer keeps in etcd: every key, every record, and the few verbs to read and change them.
// It is the only package that builds a key or sees clientv3. [Keys] lists the whole schema.
//
// # Changing something
//
// Every transition is one etcd transaction, made by [Store.Update]: it reads the records that a decision needs at one
// revision, lets a pure function decide what to write, and commits only when none of them changed meanwhile; else the
// function decides anew over what is there now. Nothing is locked, and nothing is written when nothing changes.
//
// # Watching
//
// [Store.Watch] lists a prefix and then tells every change of it, over reconnects, compaction and restarts of etcd. A
// watch only wakes: it may be late, so whoever must be sure reads.
package etcdschema
