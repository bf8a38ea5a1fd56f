package gateway_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"math/bits"
	"math/cmplx"
	"slices"

	"conclave/phone/dsp"
)

func downsample(pcm []int16, rate int) []int16 {
	if rate == 48000 {
		return pcm
	}
	d := dsp.NewDownsampler(rate)
	var out []int16
	for ; len(pcm) >= dsp.FrameSamples; pcm = pcm[dsp.FrameSamples:] {
		out = d.Append(out, (*dsp.Frame)(pcm[:dsp.FrameSamples]))
	}
	return out
}

func wav(pcm []int16, rate int, stereo bool) []byte {
	channels := 1
	if stereo {
		channels = 2
	}
	data := make([]byte, 0, 2*channels*len(pcm))
	for _, v := range pcm {
		for range channels {
			data = binary.LittleEndian.AppendUint16(data, uint16(v))
		}
	}
	var b bytes.Buffer
	b.WriteString("RIFF")
	binary.Write(&b, binary.LittleEndian, uint32(36+len(data)))
	b.WriteString("WAVEfmt ")
	binary.Write(&b, binary.LittleEndian, uint32(16))
	binary.Write(&b, binary.LittleEndian, []uint16{1, uint16(channels)})
	binary.Write(&b, binary.LittleEndian, []uint32{uint32(rate), uint32(rate * channels * 2)})
	binary.Write(&b, binary.LittleEndian, []uint16{uint16(channels * 2), 16})
	b.WriteString("data")
	binary.Write(&b, binary.LittleEndian, uint32(len(data)))
	b.Write(data)
	return b.Bytes()
}

// like says how much of what was said was heard, anywhere: the greatest normalised cross-correlation of a second from its
// loudest part with all that was heard. Both are at 8 kHz. 1 is the same sound; unlike sounds stay below 0.35.
func like(said, heard []int16) float64 {
	const second = 8000
	if len(said) < second || len(heard) < second {
		return 0
	}
	at := loudest(said, second)
	return place(said[at:at+second], heard)
}

// loudest is where the loudest stretch of a length begins.
func loudest(said []int16, length int) (at int) {
	best := 0.0
	for i := 0; i+length <= len(said); i += length / 8 {
		if e := energy(said[i : i+length]); e > best {
			best, at = e, i
		}
	}
	return at
}

// place is the greatest normalised cross-correlation of a piece with what was heard, anywhere.
func place(piece, heard []int16) float64 {
	top := float32(0)
	for _, c := range places(piece, heard) {
		top = max(top, c)
	}
	return float64(top)
}

// places are the normalised cross-correlations of a piece with what was heard, at each place; 0 where that is all but silent.
func places(piece, heard []int16) []float32 {
	length, loud := len(piece), energy(piece)
	if len(heard) < length {
		return nil
	}
	n := 1 << bits.Len(uint(len(heard)+length))
	a, b := make([]complex128, n), make([]complex128, n)
	for i, v := range heard {
		a[i] = complex(float64(v), 0)
	}
	for i, v := range piece {
		b[i] = complex(float64(v), 0)
	}
	fft(a, false)
	fft(b, false)
	for i := range a {
		a[i] *= cmplx.Conj(b[i])
	}
	fft(a, true)
	out := make([]float32, len(heard)-length)
	window := energy(heard[:length])
	for i := range out {
		if window > loud/100 { // not against silence
			out[i] = float32(math.Abs(real(a[i])) / float64(n) / math.Sqrt(window*loud))
		}
		window += float64(heard[i+length])*float64(heard[i+length]) - float64(heard[i])*float64(heard[i])
	}
	return out
}

// aligned says how much of what was said was heard by a telephone that stretches what it plays: pieces of 200 ms are looked for where each
// is due after the first, give or take 60 ms, and the median of the loudest twelve counts, at the best place for all. Both are at 8 kHz.
func aligned(said, heard []int16) float64 {
	const length, slack, step = 1600, 480, 80
	var at []int
	for i := 0; i+length <= min(len(said), 8*8000); i += length {
		at = append(at, i)
	}
	slices.SortFunc(at, func(i, j int) int { return cmp.Compare(energy(said[j:j+length]), energy(said[i:i+length])) })
	at = at[:min(len(at), 12)]
	var all [][]float32 // the best within slack of each step, of each piece
	for _, i := range at {
		each := places(said[i:i+length], heard)
		var best []float32
		for j := 0; j < len(each); j += step {
			best = append(best, slices.Max(each[max(0, j-slack):min(len(each), j+slack+1)]))
		}
		all = append(all, best)
	}
	top := float32(0)
	for start := 0; start < len(heard); start += step {
		var found []float32
		for k, i := range at {
			if j := (start + i) / step; j < len(all[k]) {
				found = append(found, all[k][j])
			}
		}
		if slices.Sort(found); len(found) == len(at) && len(found) > 0 {
			top = max(top, found[len(found)/2])
		}
	}
	return float64(top)
}

// late returns the last 20 seconds: to look through all again and again would take the time that the calls need.
func late(pcm []int16, rate int) []int16 { return pcm[max(0, len(pcm)-20*rate):] }

func energy(pcm []int16) (sum float64) {
	for _, v := range pcm {
		sum += float64(v) * float64(v)
	}
	return sum
}

// fft is the transform of Cooley and Tukey, in place; the length is a power of two.
func fft(a []complex128, inverse bool) {
	n := len(a)
	for i, j := 1, 0; i < n; i++ {
		bit := n >> 1
		for ; j&bit != 0; bit >>= 1 {
			j ^= bit
		}
		j |= bit
		if i < j {
			a[i], a[j] = a[j], a[i]
		}
	}
	for length := 2; length <= n; length <<= 1 {
		angle := -2 * math.Pi / float64(length)
		if inverse {
			angle = -angle
		}
		w := cmplx.Rect(1, angle)
		for i := 0; i < n; i += length {
			turn := complex(1, 0)
			for j := range length / 2 {
				u, v := a[i+j], a[i+j+length/2]*turn
				a[i+j], a[i+j+length/2] = u+v, u-v
				turn *= w
			}
		}
	}
}
