// Package codec turns the frames of a phone call into the payloads of RTP packets and back: G.711 (µ-law and A-law), G.722
// and Opus. It is for package media. What it decodes was sent by strangers: every decoder takes any bytes, with limits, and
// never panics.
//
// Sources: ITU-T G.711, ITU-T G.722, RFC 3551 (their RTP payloads), RFC 6716 and RFC 7587 (Opus).
package codec

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"conclave/phone/dsp"
)

// Codec is one of the codecs that a call may use. The zero value is none.
type Codec uint8

// The codecs, in the order in which we prefer them, last first.
const (
	PCMU Codec = 1 + iota
	PCMA
	G722
	Opus
)

// Preferred lists all codecs, best first.
var Preferred = [...]Codec{Opus, G722, PCMA, PCMU}

// Name returns the encoding name of a=rtpmap (RFC 3551, Section 6; RFC 7587).
func (c Codec) Name() string {
	switch c {
	case PCMU:
		return "PCMU"
	case PCMA:
		return "PCMA"
	case G722:
		return "G722"
	case Opus:
		return "opus"
	}
	return "none"
}

// ByName returns the codec of an encoding name, in any case, and a clock rate in Hz, or false.
func ByName(name string, clockRate int) (Codec, bool) {
	for _, c := range Preferred {
		if strings.EqualFold(name, c.Name()) && clockRate == c.ClockRate() {
			return c, true
		}
	}
	return 0, false
}

// ClockRate returns the rate of the RTP timestamp in Hz. G.722's is 8000 by an old mistake that is the standard now
// (RFC 3551, Section 4.5.2).
func (c Codec) ClockRate() int {
	if c == Opus {
		return 48000
	}
	return 8000
}

// Channels returns the number that stands behind the clock rate in a=rtpmap: 2 for Opus, whatever is sent (RFC 7587,
// Section 7), else 1.
func (c Codec) Channels() int {
	if c == Opus {
		return 2
	}
	return 1
}

// PayloadType returns the static payload type (RFC 3551, Table 4), or, where there is none, the one that we offer.
func (c Codec) PayloadType() uint8 {
	switch c {
	case PCMU:
		return 0
	case PCMA:
		return 8
	case G722:
		return 9
	}
	return 111
}

// ErrPayload is wrapped by every error of Decode.
var ErrPayload = errors.New("codec: undecodable payload")

// MaxDuration is the most sound that is taken from one packet.
const MaxDuration = 120 * time.Millisecond

// MaxSamples is MaxDuration at 48 kHz.
const MaxSamples = 6 * dsp.FrameSamples

// Encoder encodes one direction of a call. It is not safe for use by two goroutines at once.
type Encoder interface {
	// Encode appends the payload of f to dst and returns the result.
	Encode(dst []byte, f *dsp.Frame) ([]byte, error)
	// Close frees what the encoder holds.
	Close() error
}

// Decoder decodes one direction of a call, payloads in their order. It is not safe for use by two goroutines at once.
type Decoder interface {
	// Decode returns the sound of payload, at most MaxSamples samples at 48 kHz, which hold until the next call. Errors wrap
	// ErrPayload.
	Decode(payload []byte) ([]int16, error)
	// Conceal returns 20 ms that stand for what did not arrive, and hold until the next call. Several in a row fade into
	// silence.
	Conceal() *dsp.Frame
}

// ErrUnknown is returned for a codec that is none.
var ErrUnknown = errors.New("codec: unknown codec")

// NewEncoder starts the sending direction.
func NewEncoder(c Codec) (Encoder, error) {
	switch c {
	case PCMU, PCMA:
		return newG711Encoder(c), nil
	case G722:
		return newG722Encoder(), nil
	case Opus:
		return newOpusEncoder()
	}
	return nil, fmt.Errorf("%w: %d", ErrUnknown, c)
}

// NewDecoder starts the receiving direction.
func NewDecoder(c Codec) (Decoder, error) {
	switch c {
	case PCMU, PCMA:
		return newG711Decoder(c), nil
	case G722:
		return newG722Decoder(), nil
	case Opus:
		return newOpusDecoder()
	}
	return nil, fmt.Errorf("%w: %d", ErrUnknown, c)
}
