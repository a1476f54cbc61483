// Package attacks does what attackers did, over real HTTP, and sees it fail.
//
// Each finding of a security audit is a test named after it, such as TestH5OneMemberFillsEtcd, in a file for its kind. The test does
// what was done then, as who did it: a member of a project, somebody without a login, a guest that its tenant has taken over, a
// thief of a credential. It fails when the attack succeeds again, and each was seen to succeed on the code before its mend.
//
// The package has tests only. Findings about what a tenant's processes can reach on a host are tested where hosts are.
package attacks
