package media

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"conclave/phone/codec"
	"conclave/phone/dsp"
)

// Frame is 20 ms of sound, 48 kHz mono.
type Frame = dsp.Frame

// Source is a sound that ends.
type Source = dsp.Source

// Ports is a range of UDP ports, both ends belonging to it. A call takes an even port for RTP and the next one for RTCP
// (RFC 3550, Section 11). The zero value lets the system choose.
type Ports struct{ First, Last uint16 }

// Config is what a Session needs before the other end has spoken.
type Config struct {
	Local netip.Addr // to bind to; which address stands in the SDP is the caller's affair
	Ports Ports
	// Certificate is for DTLS-SRTP: ECDSA, one for the process is enough (Certificate makes one). Without it there is none.
	Certificate *tls.Certificate

	Rand io.Reader        // keys, SSRC, first sequence number
	Now  func() time.Time // for statistics and timeouts
	Log  *slog.Logger     // never sees addresses, keys or digits
}

// Agreement is what offer and answer came to. The zero value of Security is plain RTP.
type Agreement struct {
	Remote netip.AddrPort // c= and m= of the other end's SDP; port 0 or the zero address: nothing is sent until it has spoken
	// Peer is where its SIP came from. A clear packet that comes neither from Remote nor from the IP of Peer or Remote
	// is dropped. May be the zero value.
	Peer netip.Addr

	Codec       codec.Codec
	PayloadType uint8 // that both ends use for Codec, 0 to 127
	// DigitTypes are the payload types of telephone-event (RFC 4733) that are taken; the first, if any, is the one that
	// was agreed. Empty: digits are not heard.
	DigitTypes []uint8

	Security Security

	Mux      bool // RTCP on the RTP port (RFC 5761)
	NoSend   bool // the other end holds us (a=sendonly or inactive there): nothing but silence is needed, nothing is sent
	NoListen bool // a=recvonly or inactive there: what still comes is dropped
}

// Keying says where the keys of a leg come from.
type Keying uint8

// The ways of keying.
const (
	Clear Keying = iota // plain RTP
	SDES                // RFC 4568: the keys stood in the SDP
	DTLS                // RFC 5764: the keys were agreed on the path, under the fingerprint in the SDP
)

// String returns the keying in a word, for logs and records.
func (k Keying) String() string {
	switch k {
	case SDES:
		return "sdes"
	case DTLS:
		return "dtls"
	}
	return "clear"
}

// Security is what was agreed on the encryption of the packets.
type Security struct {
	Keying Keying

	// SDES: both keys have the same Profile. Sending is ours (LocalKey), Receiving is the other end's.
	Sending, Receiving Key

	// DTLS.
	Active       bool          // we are the client (a=setup:active in our SDP)
	Fingerprints []Fingerprint // of the other end's certificate, at least one; it must match one of SHA-256 or stronger
}

// Secured is what is known of the encryption of a leg's packets. It says nothing of the SIP that carried the keys.
type Secured struct {
	Keying  Keying
	Profile string // RFC 4568 or RFC 7714 name, as "AEAD_AES_128_GCM"; empty where clear
	Ready   bool   // keys are there: at once but for DTLS
}

// Digit is one key that the caller pressed: 0 to 9, *, #, A to D. It may be part of a secret: it does not print itself.
type Digit byte

// Format keeps the digit out of anything that is printed.
func (Digit) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "digit") }

// LogValue keeps the digit out of logs.
func (Digit) LogValue() slog.Value { return slog.StringValue("digit") }

// Stats is what a session has counted since Start.
type Stats struct {
	Received   uint64        // RTP packets that were taken: sound and digits
	Sent       uint64        // RTP packets
	Dropped    uint64        // of any kind, and why is told apart below
	Foreign    uint64        // dropped: not from the other end, a hijack of a plain leg among them
	Forged     uint64        // dropped: clear, not authentic or replayed on an SRTP leg
	Malformed  uint64        // dropped: neither RTP nor anything else that we speak, or not decodable
	Lost       uint64        // sound packets that never came, or too late
	Concealed  uint64        // frames of 20 ms that were made up in their place
	Late       uint64        // sound packets that came after their turn
	Reordered  uint64        // sound packets that came out of order and were put right
	Skipped    uint64        // frames left out, and
	Inserted   uint64        // frames put in, to follow the other end's clock and delay
	Delay      time.Duration // that sound waits in the jitter buffer now
	Jitter     time.Duration // RFC 3550, Section 6.4.1
	RoundTrip  time.Duration // by RTCP; 0 where unknown
	LastPacket time.Time     // when the last packet was taken; zero before the first
}
