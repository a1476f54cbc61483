// Package embedded runs etcd inside the gateway, for a machine that has none: one member, its data in one directory.
//
// It listens on a unix socket that only its own user and root can open, and nowhere else: it asks nobody for a password, and
// on a machine with tenants' databases loopback is no border. Gateways on several machines need an etcd of its own, with
// client certificates and users.
//
// The data survives the process, however it ends. What is shown by [Server.Endpoint] is an ordinary etcd:
//
//	etcdctl --endpoints unix://$PWD/.coffer/gateway/etcd/client.sock get --prefix /server/
package embedded
