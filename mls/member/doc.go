// Package member is the part of Messaging Layer Security (RFC 9420) that holds
// secrets: key schedule, secret tree, TreeKEM and Group, the state of one
// member of one group. It builds on the public half, package mls.
//
// A Group answers to whoever drives it. It does no I/O, has no clock, starts
// no goroutine and writes no log; time and chance are arguments. It is not
// safe for concurrent use. What arrives from a peer never panics, and a call
// that fails leaves the group as it was.
//
// What it does not do: it keeps no old epoch to read late messages with, since
// Merge wipes it; keys that outlive an epoch for a grace period are the
// application's, by Export. And a member that holds valid keys can still send a
// commit whose path secrets open for some members and not for others:
// RFC 9420 cannot prevent it. Those who cannot open it get an error from
// Process and come back by an external commit with Resync.
//
// A server must not link this package: "the server cannot decrypt" is then a
// property of the binary.
package member
