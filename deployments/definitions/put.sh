#!/bin/sh -e
# Puts the built-in definitions into etcd. Run it in its own directory, with etcdctl pointed at etcd:
#
#	ETCDCTL_API=3 ETCDCTL_ENDPOINTS=http://127.0.0.1:2379 ./put.sh
#
# The lines are independent of each other: copy those that you want. A definition that is there is replaced; running
# instances keep what they were made with.

etcdctl put /guest/datastores/redis/7.0 <guest/datastores/redis/7.0.json
etcdctl put /server/datastores/redis/7.0 <server/datastores/redis/7.0.json
etcdctl put /server/datastores/redis <server/datastores/redis.json

etcdctl put /guest/datastores/mariadb/10.11 <guest/datastores/mariadb/10.11.json
etcdctl put /server/datastores/mariadb/10.11 <server/datastores/mariadb/10.11.json
etcdctl put /server/datastores/mariadb <server/datastores/mariadb.json

etcdctl put /guest/datastores/mysql/mariadb-10.11 <guest/datastores/mysql/mariadb-10.11.json
etcdctl put /server/datastores/mysql/mariadb-10.11 <server/datastores/mysql/mariadb-10.11.json
etcdctl put /server/datastores/mysql <server/datastores/mysql.json

etcdctl put /server/flavors/1 <server/flavors/1.json
etcdctl put /server/flavors/2 <server/flavors/2.json
etcdctl put /server/flavors/3 <server/flavors/3.json
etcdctl put /server/flavors/4 <server/flavors/4.json
etcdctl put /server/flavors/5 <server/flavors/5.json
