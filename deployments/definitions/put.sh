#!/bin/sh -e
# Puts the built-in definitions into etcd. Run it in its own directory, with etcdctl pointed at etcd; name files to put only
# those:
#
#	ETCDCTL_API=3 ETCDCTL_ENDPOINTS=unix:///var/lib/coffer/etcd/client.sock ./put.sh
#	./put.sh guest/datastores/redis/7.0.json server/datastores/redis/7.0.json
#
# A file's path is its key. The guest halves come first: a version is offered when both are there. A definition that is
# there is replaced; running instances keep what they were made with.

[ $# -gt 0 ] || set -- $(find guest -name '*.json' | sort) $(find server -name '*.json' | sort)
for file; do
	etcdctl put "/${file%.json}" <"$file"
done
