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

// maxStereoPacket is the largest packet of a stranger's file: 48 frames (RFC 6716, Section 3.2.5), each with its length.
const maxStereoPacket = 48*1277 + 2

// Decoder decodes one stream, packets in their order, to 48 kHz. It is not safe for use by two goroutines at once.
// It accepts whatever shape of Opus a peer sends and never panics on it.
type Decoder struct {
	decoder  pion.Decoder
	channels int
	out      []int16
}

// NewDecoder starts a mono stream.
func NewDecoder() (*Decoder, error) { return newDecoder(1) }

// NewStereoDecoder starts a stream of which both channels are wanted, as of a file that others made: samples are left and
// right by turns, and packets may be of any size that Opus has.
func NewStereoDecoder() (*Decoder, error) { return newDecoder(2) }

func newDecoder(channels int) (*Decoder, error) {
	decoder, err := pion.NewDecoderWithOutput(SampleRate, channels)
	if err != nil {
		return nil, fmt.Errorf("opus: start decoder: %v", err)
	}
	return &Decoder{decoder: decoder, channels: channels, out: make([]int16, channels*MaxSamples)}, nil
}

// Decode returns the samples of packet, at most MaxSamples of each channel. They are the decoder's and hold until the next call. After an
// error the stream may go on with the next packet; what is missing between is the caller's to fill.
func (d *Decoder) Decode(packet []byte) (pcm []int16, err error) {
	most := MaxPacket
	if d.channels == 2 {
		most = maxStereoPacket
	}
	if len(packet) == 0 || len(packet) > most {
		return nil, fmt.Errorf("%w: %d bytes", ErrPacket, len(packet))
	}
	// The decoder has stood 60 000 mutated packets without a panic; one that is found later must cost a frame, not the
	// process. Its state is then unknown, so it starts anew.
	defer func() {
		if r := recover(); r != nil {
			pcm, err = nil, fmt.Errorf("%w: decoder failed", ErrPacket)
			d.decoder, _ = pion.NewDecoderWithOutput(SampleRate, d.channels)
		}
	}()
	n, err := d.decoder.DecodeToInt16(packet, d.out)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrPacket, err)
	}
	if n < 0 || n > MaxSamples {
		return nil, fmt.Errorf("%w: %d samples", ErrPacket, n)
	}
	return d.out[:n*d.channels], nil
}
