// Package embedded runs etcd inside the gateway, for a machine that has none: one member, its data in one directory.
//
// It serves this machine only and asks nobody for a password, so whoever may run programs here may read and change all
// of it. Use an etcd of its own, with TLS and authentication, where that is too much.
//
// The data survives the process, however it ends. What is shown by [Server.Endpoint] is an ordinary etcd:
//
//	etcdctl --endpoints http://127.0.0.1:2379 get --prefix /server/
package embedded
