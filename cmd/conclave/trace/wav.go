package trace

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// isWAV also knows RF64 and BW64, which are WAV of more than 4 GB (EBU Tech 3306, ITU-R BS.2088).
func isWAV(head []byte) bool {
	if len(head) < 12 || string(head[8:12]) != "WAVE" {
		return false
	}
	kind := string(head[:4])
	return kind == "RIFF" || kind == "RF64" || kind == "BW64"
}

// The formats of a WAV file that are read here: linear PCM, floating point, and those of the telephone (ITU-T G.711).
const (
	wavPCM, wavFloat, wavALaw, wavMuLaw = 1, 3, 6, 7

	wavExtensible = 0xfffe // the format stands at the head of a GUID
)

// wavFormat is what the chunk "fmt " says.
type wavFormat struct{ tag, channels, rate, bits int }

// readWAV reads as the file comes: a recording may be larger than the memory.
func readWAV(f io.ReadSeeker, to *channels) error {
	r := bufio.NewReaderSize(f, 1<<16)
	if _, err := r.Discard(12); err != nil {
		return fmt.Errorf("%w: %v", ErrUnreadable, err)
	}
	var format *wavFormat
	for {
		var head [8]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return fmt.Errorf("%w: WAV file without sound", ErrUnreadable)
		}
		size := int64(binary.LittleEndian.Uint32(head[4:]))
		switch string(head[:4]) {
		case "fmt ":
			if size < 16 || size > 1<<12 {
				return fmt.Errorf("%w: WAV format of %d bytes", ErrUnreadable, size)
			}
			b := make([]byte, size+size&1)
			if _, err := io.ReadFull(r, b); err != nil {
				return fmt.Errorf("%w: %v", ErrUnreadable, err)
			}
			var err error
			if format, err = parseWAVFormat(b); err != nil {
				return err
			}
		case "data":
			if format == nil {
				return fmt.Errorf("%w: sound before its format", ErrUnreadable)
			}
			// A recorder that was stopped hard leaves no size, or the size of a stream, and RF64 has none here: then all
			// that comes is sound.
			if size == 0 || size >= math.MaxUint32-1<<16 {
				size = math.MaxInt64
			}
			return format.decode(io.LimitReader(r, size), to)
		default:
			if _, err := io.CopyN(io.Discard, r, size+size&1); err != nil {
				return fmt.Errorf("%w: WAV chunk of %d bytes", ErrUnreadable, size)
			}
		}
	}
}

func parseWAVFormat(b []byte) (*wavFormat, error) {
	le := binary.LittleEndian
	f := &wavFormat{tag: int(le.Uint16(b)), channels: int(le.Uint16(b[2:])), rate: int(le.Uint32(b[4:])), bits: int(le.Uint16(b[14:]))}
	if f.tag == wavExtensible && len(b) >= 26 {
		f.tag = int(le.Uint16(b[24:]))
	}
	known := map[int][]int{wavPCM: {8, 16, 24, 32}, wavFloat: {32, 64}, wavALaw: {8}, wavMuLaw: {8}}
	for _, bits := range known[f.tag] {
		if bits == f.bits {
			return f, nil
		}
	}
	return nil, fmt.Errorf("%w: WAV format %d with %d bits", ErrUnreadable, f.tag, f.bits)
}

func (f *wavFormat) decode(r io.Reader, to *channels) error {
	if err := to.start(f.rate, f.channels); err != nil {
		return err
	}
	width := f.bits / 8
	buf := make([]byte, 4096*width*f.channels)
	samples := make([]float32, 0, 4096*f.channels)
	for {
		n, err := io.ReadFull(r, buf)
		samples = samples[:0]
		for b := buf[:n/width*width]; len(b) > 0; b = b[width:] {
			samples = append(samples, f.sample(b))
		}
		if err := to.add(samples); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %v", ErrUnreadable, err)
		}
	}
}

// sample reads one sample, from -1 to 1.
func (f *wavFormat) sample(b []byte) float32 {
	le := binary.LittleEndian
	var v float64
	switch {
	case f.tag == wavALaw:
		return aLaw[b[0]]
	case f.tag == wavMuLaw:
		return muLaw[b[0]]
	case f.tag == wavFloat && f.bits == 32:
		v = float64(math.Float32frombits(le.Uint32(b)))
	case f.tag == wavFloat:
		v = math.Float64frombits(le.Uint64(b))
	case f.bits == 8:
		return float32(int(b[0])-128) / 128
	case f.bits == 16:
		return float32(int16(le.Uint16(b))) / (1 << 15)
	case f.bits == 24:
		return float32(int32(uint32(b[0])<<8|uint32(b[1])<<16|uint32(b[2])<<24)) / (1 << 31)
	default:
		return float32(int32(le.Uint32(b))) / (1 << 31)
	}
	if math.IsNaN(v) {
		return 0
	}
	return float32(max(-1, min(1, v)))
}

// aLaw and muLaw are the levels of ITU-T G.711.
var aLaw, muLaw = func() (a, mu [256]float32) {
	for i := range 256 {
		x := i ^ 0x55
		v := x & 15 << 4
		if e := x >> 4 & 7; e == 0 {
			v += 8
		} else {
			v = (v + 0x108) << (e - 1)
		}
		if x&0x80 == 0 {
			v = -v
		}
		a[i] = float32(v) / 32768

		x = ^i
		v = ((x&15<<3)+0x84)<<(x>>4&7) - 0x84
		if x&0x80 != 0 {
			v = -v
		}
		mu[i] = float32(v) / 32768
	}
	return a, mu
}()
