package signal

import (
	"encoding/binary"

	"conclave"
)

// HelloContent is what a leaf key signs in Hello: that it asks for this meeting on this connection, at this host, and by
// which program. The host binds the signature to the server that the person meant: another that relays the challenge gets it
// refused. The program is held against what its TLS gives away: who stands between cannot have it be another one.
func HelloContent(nonce []byte, meeting conclave.MeetingID, host string, by Client) []byte {
	return content("Conclave hello 1", nonce, meeting[:], []byte(host), []byte(by.Kind), []byte(by.Name), []byte(by.Version), []byte(by.Agent))
}

// MediaContent is what a leaf key signs in Media: both ends' DTLS fingerprints for this leg, so that nobody stands
// between them (RFC 8827, Section 5.6.4, has an identity provider sign them instead).
func MediaContent(meeting conclave.MeetingID, leg conclave.LegID, m *Media) []byte {
	var streams [14]byte
	binary.BigEndian.PutUint32(streams[0:], m.SSRC.Microphone)
	binary.BigEndian.PutUint32(streams[4:], m.SSRC.Camera)
	binary.BigEndian.PutUint32(streams[8:], m.SSRC.Screen)
	streams[12], streams[13] = m.Opus, m.VP8
	return content("Conclave media 1", meeting[:], leg[:], m.Fingerprint, m.ServerFingerprint,
		[]byte(m.Ufrag), []byte(m.Password), streams[:])
}

// AssertionContent is what a fresh assertion of Join has the SHA-256 of as its challenge: this key, for this meeting, over
// media whose two ends have these DTLS fingerprints, now. A copied key, or another's media path, gets nobody in.
func AssertionContent(nonce, leafKey []byte, meeting conclave.MeetingID, client, server []byte, host string) []byte {
	return content("Conclave assertion 1", nonce, leafKey, meeting[:], client, server, []byte(host))
}

// EnrolContent is what a leaf key signs to be enrolled: that whoever holds the link's token, in its text form, holds the key.
func EnrolContent(token string) []byte { return append([]byte("Conclave enrol 1\x00"), token...) }

// RenewContent is what a leaf key signs to have its statement renewed, over a nonce of POST /v1/nonce.
func RenewContent(nonce, statement []byte, host string) []byte {
	return content("Conclave renew 1", nonce, statement, []byte(host))
}

// content joins a label and parts, each behind its length in four bytes, so that no two lists of parts give one content.
func content(label string, parts ...[]byte) []byte {
	out := append([]byte(label), 0)
	for _, p := range parts {
		out = binary.BigEndian.AppendUint32(out, uint32(len(p)))
		out = append(out, p...)
	}
	return out
}
