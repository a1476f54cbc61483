// Package configfile writes the configuration files of database servers, quoted by the rules of the program that reads
// them. A value that its reader could take for something else is an error, never written.
package configfile
