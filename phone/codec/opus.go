package codec

import (
	"fmt"

	"conclave/opus"
	"conclave/phone/dsp"
)

// opusEncoder is one instance of libopus: an instance must never serve two directions.
type opusEncoder struct{ *opus.Encoder }

// newOpusEncoder starts an encoder at the room's constant bit rate: sizes tell nobody whether somebody speaks. A gateway encodes for many, so
// it does by the transform alone.
func newOpusEncoder() (Encoder, error) {
	e, err := opus.NewEncoder(opus.Config{Transform: true})
	if err != nil {
		return nil, fmt.Errorf("codec: %v", err)
	}
	return opusEncoder{e}, nil
}

func (e opusEncoder) Encode(dst []byte, f *dsp.Frame) ([]byte, error) {
	return e.Encoder.Encode(dst, f[:])
}

type opusDecoder struct {
	decoder *opus.Decoder
	dsp.Concealer
}

func newOpusDecoder() (Decoder, error) {
	d, err := opus.NewDecoder()
	if err != nil {
		return nil, fmt.Errorf("codec: %v", err)
	}
	return &opusDecoder{decoder: d}, nil
}

func (d *opusDecoder) Decode(payload []byte) ([]int16, error) {
	pcm, err := d.decoder.Decode(payload)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrPayload, err)
	}
	d.Good(pcm)
	return pcm, nil
}
