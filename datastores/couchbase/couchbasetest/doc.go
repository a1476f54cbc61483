// Package couchbasetest builds the double of Couchbase Server's programs for tests, see package double.
package couchbasetest
