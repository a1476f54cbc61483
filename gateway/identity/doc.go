// Package identity says who a request's token stands for, and is the identity service of a system that has no Keystone.
//
// An [Authenticator] turns a token into a [Who]. There are three: [Static] tokens from an operator's file, the built-in
// [Service], and [Anonymous] for a development machine; a [Chain] asks several.
//
// # The service
//
// [Service.Handler] speaks the part of OpenStack's identity API v3 that clients need to log in and find the database
// endpoint (openstack, openstacksdk, gophercloud, Terraform), and that an administrator needs to keep users, projects
// and roles. There is one domain, "default". The roles are admin, member and reader, each including those after it;
// who is admin of one project is an administrator of everything.
//
// Passwords are kept as argon2id hashes, tokens as SHA-256. Guessing is slowed down for each user and each remote
// address.
//
// # How fast a change takes effect
//
// A gateway remembers for 10 seconds that a token is good, and for 2 seconds that it is not. So revoking a token, changing
// a role or a password, or disabling or deleting a user or project takes effect at once on the gateway that is asked to,
// and within 10 seconds on the others.
package identity
