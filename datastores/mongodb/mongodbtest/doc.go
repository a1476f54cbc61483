// Package mongodbtest builds the double of MongoDB's programs for tests, see package double.
package mongodbtest
