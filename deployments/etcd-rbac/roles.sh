#!/bin/sh -e
# Makes the users and roles of an etcd that several gateways share. Run it once, as root of etcd, before `etcdctl auth enable`:
#
#	export ETCDCTL_API=3 ETCDCTL_ENDPOINTS=https://10.0.0.1:2379 ETCDCTL_CACERT=ca.pem ETCDCTL_CERT=root.pem ETCDCTL_KEY=root.key
#	./roles.sh && etcdctl auth enable
#
# etcd must run with --client-cert-auth and --trusted-ca-file. A client is then the user that its certificate's common name
# says: root, coffer-gateway, coffer-operator. Nobody has a password.

# etcd itself: users, compaction, defragmentation, alarms.
etcdctl user add root --no-password
etcdctl user grant-role root root

# Gateways, `coffer keys` and `coffer epoch`: everything of Coffer's, and nothing else that this etcd may hold.
etcdctl role add coffer-gateway
etcdctl role grant-permission coffer-gateway readwrite --prefix=true /server/
etcdctl role grant-permission coffer-gateway readwrite --prefix=true /guest/
etcdctl user add coffer-gateway --no-password
etcdctl user grant-role coffer-gateway coffer-gateway

# Those who define what is offered: `coffer definitions`, `etcdctl put`. They read no tenant's record.
etcdctl role add coffer-operator
etcdctl role grant-permission coffer-operator readwrite --prefix=true /server/datastores/
etcdctl role grant-permission coffer-operator readwrite --prefix=true /guest/datastores/
etcdctl role grant-permission coffer-operator readwrite --prefix=true /server/flavors/
etcdctl user add coffer-operator --no-password
etcdctl user grant-role coffer-operator coffer-operator
