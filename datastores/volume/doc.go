// Package volume is how a guest reads and writes where its database server's user may write, too.
//
// A tenant may run code as that user, so everything below the data directory may be another thing at any moment: a link in
// place of a directory, a pipe in place of a file, a file without end. The guest is root. So it never goes there by
// path: [Dir.Open] opens the directory, whose own parent is root's, and everything below is reached from what is open.
//
//   - No link leads out of the directory, and what is read is no link at all.
//   - Only regular files are opened, and opening waits for nobody.
//   - What is read at once is bounded.
//   - A directory in the making is filled through what was opened when it was made, whatever has its name since.
//
// [Data] is the directory of an instance's data, [Own] the guest's own, [Temp] one for a moment. All are used alike.
package volume
