// Package mediatest makes RTP that nobody should send, for the tests of package media and of those who use it.
package mediatest

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/pion/rtp"
)

// Packet returns a clear RTP packet.
func Packet(t testing.TB, payloadType uint8, sequence uint16, timestamp, ssrc uint32, payload []byte) []byte {
	t.Helper()
	b, err := (&rtp.Packet{
		Header:  rtp.Header{Version: 2, PayloadType: payloadType, SequenceNumber: sequence, Timestamp: timestamp, SSRC: ssrc},
		Payload: payload,
	}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Loud is the n-th packet of a stream of loud noise in A-law, of 20 ms each: what is heard wherever it is let in.
func Loud(t testing.TB, n int, ssrc uint32) []byte {
	t.Helper()
	payload := bytes.Repeat([]byte{0x11, 0x91, 0x91}, 54)[:160]
	return Packet(t, 8, uint16(n), uint32(160*n), ssrc, payload)
}

// Mutate changes a packet, the i-th, as a fuzzer would: octets, length, header, RTCP, extensions and padding, by turns.
func Mutate(random *rand.Rand, i int, p []byte) []byte {
	switch i % 6 {
	case 0:
		for range 1 + random.IntN(6) {
			p[random.IntN(len(p))] ^= byte(1 + random.IntN(255))
		}
	case 1:
		p = p[:random.IntN(len(p))]
	case 2:
		p[random.IntN(12)] = byte(random.Uint32())
	case 3:
		p = append(p, make([]byte, random.IntN(1600))...)
	case 4: // RTCP
		p[0], p[1] = byte(0x80|random.IntN(64)), byte(192+random.IntN(32))
	case 5: // extensions and padding
		p[0] |= byte(random.IntN(64))
	}
	return p
}
