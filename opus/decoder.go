package opus

import (
	"errors"
	"fmt"

	pion "github.com/pion/opus"
)

// MaxPacket is the largest packet that a Decoder accepts, in bytes: the largest frame of RFC 6716 (1275) and its header.
const MaxPacket = 1276

// MaxSamples is the most that one packet decodes to: 120 ms (RFC 6716, Section 3.2.5).
const MaxSamples = 6 * FrameSamples

// ErrPacket is wrapped by every error of Decode.
var ErrPacket = errors.New("opus: undecodable packet")

// Decoder decodes one stream, packets in their order, to 48 kHz mono. It is not safe for use by two goroutines at once.
// It accepts whatever shape of Opus a peer sends and never panics on it.
type Decoder struct {
	decoder pion.Decoder
	out     [MaxSamples]int16
}

// NewDecoder starts a stream.
func NewDecoder() (*Decoder, error) {
	decoder, err := pion.NewDecoderWithOutput(SampleRate, 1)
	if err != nil {
		return nil, fmt.Errorf("opus: start decoder: %v", err)
	}
	return &Decoder{decoder: decoder}, nil
}

// Decode returns the samples of packet, at most MaxSamples. They are the decoder's and hold until the next call. After an
// error the stream may go on with the next packet; what is missing between is the caller's to fill.
func (d *Decoder) Decode(packet []byte) (pcm []int16, err error) {
	if len(packet) == 0 || len(packet) > MaxPacket {
		return nil, fmt.Errorf("%w: %d bytes", ErrPacket, len(packet))
	}
	// The decoder has stood 60 000 mutated packets without a panic; one that is found later must cost a frame, not the
	// process. Its state is then unknown, so it starts anew.
	defer func() {
		if r := recover(); r != nil {
			pcm, err = nil, fmt.Errorf("%w: decoder failed", ErrPacket)
			d.decoder, _ = pion.NewDecoderWithOutput(SampleRate, 1)
		}
	}()
	n, err := d.decoder.DecodeToInt16(packet, d.out[:])
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrPacket, err)
	}
	if n < 0 || n > MaxSamples {
		return nil, fmt.Errorf("%w: %d samples", ErrPacket, n)
	}
	return d.out[:n], nil
}
