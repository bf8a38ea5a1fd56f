package endpoint

import (
	"encoding/binary"

	"conclave/mls"
)

const codeLabel = "Conclave security code"

// securityCode derives the code that people compare: six groups of five digits, about 99 bits, from the epoch
// authenticator (RFC 9420, Section 8.7) and the group's id. Two endpoints that show the same code are in the same epoch
// of the same group, hence have the same members.
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
