package gateway

import (
	"testing"

	"conclave/phone/media"
	"conclave/signal"
)

// Keys that came over a clear way protect nothing, whether they stood there (SDES) or only the fingerprint of who has them did (DTLS-SRTP).
func TestKeysOverAClearWayMakeNoHop(t *testing.T) {
	for _, c := range []struct {
		secure bool // SIP over TLS, with a trunk that has proven who it is
		keying media.Keying
		want   signal.PhoneLine
	}{
		{false, media.Clear, signal.PhoneOpen}, {false, media.SDES, signal.PhoneOpen}, {false, media.DTLS, signal.PhoneOpen},
		{true, media.Clear, signal.PhoneOpen}, {true, media.SDES, signal.PhoneHop}, {true, media.DTLS, signal.PhoneHop},
	} {
		if got := lineOf(c.secure, c.keying); got != c.want {
			t.Errorf("signalling secure %v, %s: %s, want %s", c.secure, c.keying, got, c.want)
		}
	}
}
