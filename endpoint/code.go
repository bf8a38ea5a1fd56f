package endpoint

import (
	"encoding/binary"

	"conclave/mls"
)

const codeLabel = "Conclave security code"

// securityCode derives the code that people compare: six groups of five digits, about 99 bits, from the epoch
// authenticator (RFC 9420, Section 8.7) and the group's id. Two endpoints that show the same code are in the same epoch
// of the same group, hence have the same members.
//
// The code binds who the members are; a second one over their identity keys would say nothing more. The authenticator is
// derived from the epoch secret, and that by way of the group context (Section 8), which holds the tree hash (Section 8.1). That
// hash covers every leaf: statement, signature key, encryption key and pass (Sections 7.2 and 7.8). With all secrets the same,
// another roster gives another code (member.TestTheEpochAuthenticatorIsOfOneRosterOnly). What such a second code would add is
// that it stays the same while only keys change; here a change that leaves the roster as it was is said to be one ("renewed").
func securityCode(suite mls.CipherSuite, authenticator []byte, group mls.GroupID) (groups [6]string) {
	info := append([]byte(codeLabel), 0)
	info = append(info, group...)
	out := suite.Expand(authenticator, info, 5*len(groups))
	for i := range groups {
		// Forty bits for five digits: the bias of the remainder is below 2^-23.
		var wide [8]byte
		copy(wide[3:], out[5*i:5*i+5])
		groups[i] = fiveDigits(binary.BigEndian.Uint64(wide[:]) % 100000)
	}
	return groups
}

func fiveDigits(n uint64) string {
	var d [5]byte
	for i := len(d) - 1; i >= 0; i-- {
		d[i] = byte('0' + n%10)
		n /= 10
	}
	return string(d[:])
}
