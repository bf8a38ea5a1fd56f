package opus

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// Limits of a WAV file that is read.
const (
	maxWAVBytes    = 512 << 20
	maxWAVSamples  = 3600 * SampleRate // an hour, after resampling
	minWAVRate     = 4000
	maxWAVRate     = 192000
	maxWAVChannels = 8
)

// wavFormat is what the fmt chunk says.
type wavFormat struct {
	float    bool
	bits     int // 8, 16, 24 or 32; 32 or 64 where float
	channels int
	rate     int
}

// ReadWAV reads a RIFF/WAVE file of linear PCM (8, 16, 24, 32 bits) or floating point (32, 64 bits), of 1 to 8 channels
// at 4 to 192 kHz, and returns it as 48 kHz mono: channels averaged, resampled. Other files are errors that wrap ErrFile.
func ReadWAV(r io.Reader) ([]int16, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxWAVBytes+1))
	if err != nil {
		return nil, fmt.Errorf("opus: read WAV file: %w", err)
	}
	if len(data) > maxWAVBytes {
		return nil, fmt.Errorf("%w: WAV file over %d bytes", ErrFile, maxWAVBytes)
	}
	if len(data) < 12 || string(data[:4]) != "RIFF" || string(data[8:12]) != "WAVE" {
		return nil, fmt.Errorf("%w: not a WAV file", ErrFile)
	}
	var format *wavFormat
	for data = data[12:]; len(data) >= 8; {
		id, size := string(data[:4]), int(binary.LittleEndian.Uint32(data[4:]))
		body := data[8:]
		if id == "data" {
			if format == nil {
				return nil, fmt.Errorf("%w: sound before its format", ErrFile)
			}
			// A recorder that was stopped hard leaves a size too large, or the size of a stream: take what is there.
			return format.decode(body[:min(size, len(body))])
		}
		if size > len(body) {
			return nil, fmt.Errorf("%w: WAV chunk of %d bytes in %d", ErrFile, size, len(body))
		}
		if id == "fmt " {
			if format, err = parseWAVFormat(body[:size]); err != nil {
				return nil, err
			}
		}
		data = body[min(size+size&1, len(body)):]
	}
	return nil, fmt.Errorf("%w: WAV file without sound", ErrFile)
}

func parseWAVFormat(b []byte) (*wavFormat, error) {
	if len(b) < 16 {
		return nil, fmt.Errorf("%w: short WAV format", ErrFile)
	}
	le := binary.LittleEndian
	tag := le.Uint16(b)
	if tag == 0xfffe && len(b) >= 40 { // WAVE_FORMAT_EXTENSIBLE: the tag stands at the head of the GUID
		tag = le.Uint16(b[24:])
	}
	rate := le.Uint32(b[4:])
	f := &wavFormat{float: tag == 3, channels: int(le.Uint16(b[2:])), bits: int(le.Uint16(b[14:]))}
	known := tag == 1 && (f.bits == 8 || f.bits == 16 || f.bits == 24 || f.bits == 32) ||
		tag == 3 && (f.bits == 32 || f.bits == 64)
	if !known {
		return nil, fmt.Errorf("%w: WAV format %d with %d bits", ErrFile, tag, f.bits)
	}
	if f.channels < 1 || f.channels > maxWAVChannels || rate < minWAVRate || rate > maxWAVRate {
		return nil, fmt.Errorf("%w: WAV with %d channels at %d Hz", ErrFile, f.channels, rate)
	}
	f.rate = int(rate)
	return f, nil
}

func (f *wavFormat) decode(b []byte) ([]int16, error) {
	width := f.bits / 8
	frames := len(b) / (width * f.channels)
	if int64(frames)*SampleRate/int64(f.rate) > maxWAVSamples {
		return nil, fmt.Errorf("%w: WAV file of over an hour", ErrFile)
	}
	mono := make([]float64, frames)
	for i := range mono {
		sum := 0.0
		for range f.channels {
			sum += f.sample(b)
			b = b[width:]
		}
		mono[i] = sum / float64(f.channels)
	}
	mono = resample(mono, f.rate)
	out := make([]int16, len(mono))
	for i, v := range mono {
		out[i] = int16(math.Round(max(-1, min(1, v)) * 32767))
	}
	return out, nil
}

// sample reads one sample as a number from -1 to 1.
func (f *wavFormat) sample(b []byte) float64 {
	le := binary.LittleEndian
	var v float64
	switch {
	case f.float && f.bits == 32:
		v = float64(math.Float32frombits(le.Uint32(b)))
	case f.float:
		v = math.Float64frombits(le.Uint64(b))
	case f.bits == 8:
		return float64(int(b[0])-128) / 128
	case f.bits == 16:
		return float64(int16(le.Uint16(b))) / (1 << 15)
	case f.bits == 24:
		return float64(int32(uint32(b[0])<<8|uint32(b[1])<<16|uint32(b[2])<<24)) / (1 << 31)
	default:
		return float64(int32(le.Uint32(b))) / (1 << 31)
	}
	if !(math.Abs(v) <= 1) { // also when v is not a number
		return math.Copysign(1, v)
	}
	return v
}

// resample changes the rate of in from rate to SampleRate by a sinc of 32 half-waves under a Kaiser window (beta 8: what
// folds over is about 80 dB down). The filter is tabulated at 256 places between two samples and interpolated.
func resample(in []float64, rate int) []float64 {
	if rate == SampleRate || len(in) == 0 {
		return in
	}
	const half, steps, beta = 16, 256, 8.0
	// Below the lower of the two Nyquist frequencies, with room for the filter's slope.
	cutoff := 0.95 * min(1, float64(SampleRate)/float64(rate))
	width := half / cutoff // half the filter's length in input samples
	table := make([]float64, int(width*steps)+3)
	for i := range table {
		x := float64(i) / steps
		if x >= width {
			break
		}
		table[i] = cutoff * sinc(cutoff*x) * bessel(beta*math.Sqrt(1-x*x/(width*width))) / bessel(beta)
	}
	out := make([]float64, int64(len(in))*SampleRate/int64(rate))
	for i := range out {
		at := float64(i) * float64(rate) / SampleRate
		from, to := max(0, int(math.Ceil(at-width))), min(len(in)-1, int(math.Floor(at+width)))
		sum := 0.0
		for j := from; j <= to; j++ {
			place := math.Abs(at-float64(j)) * steps
			k := int(place)
			part := place - float64(k)
			sum += in[j] * (table[k]*(1-part) + table[k+1]*part)
		}
		out[i] = sum
	}
	return out
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// bessel is the modified Bessel function of the first kind, order 0.
func bessel(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > 1e-12*sum; k++ {
		term *= x * x / (4 * k * k)
		sum += term
	}
	return sum
}

// WAVWriter writes 48 kHz mono as 16-bit PCM. What is written is valid WAV only after Close, though ReadWAV and most
// players also read a file that was cut off.
type WAVWriter struct {
	w     io.WriteSeeker
	bytes uint32
	buf   []byte
}

// NewWAVWriter writes the header to w, which stays the caller's to close.
func NewWAVWriter(w io.WriteSeeker) (*WAVWriter, error) {
	x := &WAVWriter{w: w}
	// Until Close the sizes are those of a stream without end.
	return x, x.header(math.MaxUint32-36, math.MaxUint32-72)
}

func (x *WAVWriter) header(riff, data uint32) error {
	h := make([]byte, 0, 44)
	le := binary.LittleEndian
	h = append(h, "RIFF"...)
	h = le.AppendUint32(h, riff)
	h = append(h, "WAVEfmt "...)
	h = le.AppendUint32(h, 16)
	h = le.AppendUint16(h, 1)
	h = le.AppendUint16(h, 1)
	h = le.AppendUint32(h, SampleRate)
	h = le.AppendUint32(h, SampleRate*2)
	h = le.AppendUint16(h, 2)
	h = le.AppendUint16(h, 16)
	h = append(h, "data"...)
	h = le.AppendUint32(h, data)
	if _, err := x.w.Write(h); err != nil {
		return fmt.Errorf("opus: write WAV file: %w", err)
	}
	return nil
}

// Write appends samples. A file ends at 4 GB (12 hours): what is over is an error.
func (x *WAVWriter) Write(pcm []int16) error {
	if uint64(x.bytes)+uint64(2*len(pcm)) > math.MaxUint32-72 {
		return fmt.Errorf("opus: write WAV file: over 4 GB")
	}
	x.buf = x.buf[:0]
	for _, s := range pcm {
		x.buf = binary.LittleEndian.AppendUint16(x.buf, uint16(s))
	}
	if _, err := x.w.Write(x.buf); err != nil {
		return fmt.Errorf("opus: write WAV file: %w", err)
	}
	x.bytes += uint32(2 * len(pcm))
	return nil
}

// Close puts the true sizes into the header. It does not close the file below.
func (x *WAVWriter) Close() error {
	if _, err := x.w.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("opus: finish WAV file: %w", err)
	}
	if err := x.header(36+x.bytes, x.bytes); err != nil {
		return err
	}
	if _, err := x.w.Seek(0, io.SeekEnd); err != nil {
		return fmt.Errorf("opus: finish WAV file: %w", err)
	}
	return nil
}
