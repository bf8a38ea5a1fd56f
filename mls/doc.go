// Package mls is the public half of Messaging Layer Security (RFC 9420): everything that can be encoded, decoded,
// checked and followed without holding a secret of the group.
//
// It is for two readers. The delivery service follows a group with Follower: it validates every handshake message,
// keeps the ratchet tree, and can propose removals, yet it can decrypt nothing. Package mls/member builds the secret
// half (key schedule, secret tree, Group) on the types of this one. A server must never link mls/member.
//
// What this package does not do: no input or output, no clock, no logging. Time is an argument (now). It holds no group
// secret, so it cannot check membership tags and confirmation tags; whoever holds the secrets does.
//
// Byte slices of a decoded value are shared, never copied, between the value, its clones and the trees it is put into.
// Nobody may write to them.
//
// Files are named after the chapters of the RFC. Section numbers in comments are those of RFC 9420 where no other
// document is named.
package mls
