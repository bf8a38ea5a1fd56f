// Package member is the part of Messaging Layer Security (RFC 9420) that holds
// secrets: key schedule, secret tree, TreeKEM and Group, the state of one
// member of one group. It builds on the public half, package mls.
//
// A Group answers to whoever drives it. It does no I/O, has no clock, starts
// no goroutine and writes no log; time and chance are arguments. It is not
// safe for concurrent use. What arrives from a peer never panics, and a call
// that fails leaves the group as it was.
//
// A server must not link this package: "the server cannot decrypt" is then a
// property of the binary.
package member
