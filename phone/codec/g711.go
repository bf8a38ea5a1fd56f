package codec

import (
	"fmt"

	"conclave/phone/dsp"
)

// linear holds what each octet means, for µ-law and A-law.
var linear = [2][256]int16{muLaw(), aLaw()}

// muLaw is the expansion of ITU-T G.711, Table 2, to 16 bits.
func muLaw() (table [256]int16) {
	for i := range table {
		u := ^uint8(i)
		magnitude := (int16(u&0x0f)<<3+132)<<(u>>4&7) - 132
		if u&0x80 != 0 {
			magnitude = -magnitude
		}
		table[i] = magnitude
	}
	return table
}

// aLaw is the expansion of ITU-T G.711, Table 1, to 16 bits.
func aLaw() (table [256]int16) {
	for i := range table {
		a := uint8(i) ^ 0x55
		magnitude := int16(a&0x0f)<<4 + 8
		if segment := a >> 4 & 7; segment > 0 {
			magnitude = (magnitude + 256) << (segment - 1)
		}
		if a&0x80 == 0 {
			magnitude = -magnitude
		}
		table[i] = magnitude
	}
	return table
}

func toMuLaw(s int16) uint8 {
	v, sign := int32(s), uint8(0)
	if v < 0 {
		v, sign = -v, 0x80
	}
	v = min(v, 32635) + 132
	segment := uint8(0)
	for v>>segment > 255 {
		segment++
	}
	return ^(sign | segment<<4 | uint8(v>>(segment+3))&0x0f)
}

func toALaw(s int16) uint8 {
	v, sign := int32(s)>>3, uint8(0x80) // 13 bits
	if v < 0 {
		v, sign = -v-1, 0
	}
	segment := uint8(0)
	for v>>segment > 31 {
		segment++
	}
	octet := segment << 4
	if segment > 0 {
		octet |= uint8(v>>segment) & 0x0f
	} else {
		octet = uint8(v>>1) & 0x0f
	}
	return (octet | sign) ^ 0x55
}

type g711Encoder struct {
	down    *dsp.Downsampler
	encode  func(int16) uint8
	samples [dsp.FrameSamples / 6]int16
}

func newG711Encoder(c Codec) *g711Encoder {
	e := &g711Encoder{down: dsp.NewDownsampler(8000), encode: toMuLaw}
	if c == PCMA {
		e.encode = toALaw
	}
	return e
}

func (e *g711Encoder) Encode(dst []byte, f *dsp.Frame) ([]byte, error) {
	for _, s := range e.down.Append(e.samples[:0], f) {
		dst = append(dst, e.encode(s))
	}
	return dst, nil
}

func (e *g711Encoder) Close() error { return nil }

type g711Decoder struct {
	table  *[256]int16
	up     *dsp.Upsampler
	narrow [MaxSamples / 6]int16
	pcm    [MaxSamples]int16
	dsp.Concealer
}

func newG711Decoder(c Codec) *g711Decoder {
	return &g711Decoder{table: &linear[c-PCMU], up: dsp.NewUpsampler(8000)}
}

func (d *g711Decoder) Decode(payload []byte) ([]int16, error) {
	if len(payload) == 0 || len(payload) > len(d.narrow) {
		return nil, fmt.Errorf("%w: G.711 of %d bytes", ErrPayload, len(payload))
	}
	for i, b := range payload {
		d.narrow[i] = d.table[b]
	}
	pcm := d.up.Append(d.pcm[:0], d.narrow[:len(payload)])
	d.Good(pcm)
	return pcm, nil
}
