package codec

import (
	"fmt"

	"github.com/gotranspile/g722"

	"conclave/phone/dsp"
)

type g722Encoder struct {
	down    *dsp.Downsampler
	encoder *g722.Encoder
	samples [dsp.FrameSamples / 3]int16
	out     [dsp.FrameSamples / 6]byte
}

func newG722Encoder() *g722Encoder {
	return &g722Encoder{down: dsp.NewDownsampler(16000), encoder: g722.NewEncoder(g722.Rate64000, 0)}
}

func (e *g722Encoder) Encode(dst []byte, f *dsp.Frame) ([]byte, error) {
	n := e.encoder.Encode(e.out[:], e.down.Append(e.samples[:0], f))
	return append(dst, e.out[:n]...), nil
}

func (e *g722Encoder) Close() error { return nil }

type g722Decoder struct {
	decoder *g722.Decoder
	up      *dsp.Upsampler
	wide    [MaxSamples / 3]int16
	pcm     [MaxSamples]int16
	dsp.Concealer
}

func newG722Decoder() *g722Decoder {
	return &g722Decoder{decoder: g722.NewDecoder(g722.Rate64000, 0), up: dsp.NewUpsampler(16000)}
}

func (d *g722Decoder) Decode(payload []byte) ([]int16, error) {
	if len(payload) == 0 || 2*len(payload) > len(d.wide) {
		return nil, fmt.Errorf("%w: G.722 of %d bytes", ErrPayload, len(payload))
	}
	n := d.decoder.Decode(d.wide[:2*len(payload)], payload)
	pcm := d.up.Append(d.pcm[:0], d.wide[:n])
	d.Good(pcm)
	return pcm, nil
}
