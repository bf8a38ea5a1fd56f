// Package trace is the work behind `conclave trace`: it reads a recording, opens the keys with which legs marked what they
// played, has package watermark search, words the answer and draws the report's page.
package trace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/hajimehoshi/go-mp3"
	"github.com/mewkiz/flac"

	"conclave/opus"
	"conclave/watermark"
)

// Limits of a recording.
const (
	maxFile    = 2 << 30
	maxSamples = int(watermark.MaxSound / 1e9 * watermark.Rate)
)

// Errors of Load.
var (
	ErrUnreadable = errors.New("trace: the file is no sound that can be read")
	errLong       = fmt.Errorf("%w: it is longer than %v", ErrUnreadable, watermark.MaxSound)
)

// Load reads a recording and returns it at watermark.Rate, its channels averaged. WAV, Ogg with Opus, MP3 and FLAC are read here; all
// else, and what is unusual of these, by ffmpeg where there is one. by says who read it.
func Load(ctx context.Context, name string) (sound []float32, by string, err error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, "", fmt.Errorf("trace: %w", err)
	}
	if info.Size() > maxFile {
		return nil, "", fmt.Errorf("%w: over %d bytes", ErrUnreadable, maxFile)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, "", fmt.Errorf("trace: %w", err)
	}
	defer f.Close()
	var head [12]byte
	n, err := io.ReadFull(f, head[:])
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, "", fmt.Errorf("%w: %v", ErrUnreadable, err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, "", fmt.Errorf("trace: %w", err)
	}
	for _, d := range decoders {
		if !d.fits(head[:n], strings.ToLower(filepath.Ext(name))) {
			continue
		}
		sound, err := guarded(func() ([]float32, error) { return d.decode(f) })
		if err == nil {
			return sound, d.name, nil
		}
		if other, failed := viaFFmpeg(ctx, name); failed == nil {
			return other, "ffmpeg", nil
		}
		return nil, "", err
	}
	sound, err = viaFFmpeg(ctx, name)
	return sound, "ffmpeg", err
}

// decoder reads one kind of file.
type decoder struct {
	name   string
	fits   func(head []byte, extension string) bool
	decode func(f io.ReadSeeker) ([]float32, error)
}

var decoders = []decoder{
	{"WAV", func(h []byte, _ string) bool {
		return len(h) == 12 && string(h[:4]) == "RIFF" && string(h[8:]) == "WAVE"
	}, readWAV},
	{"Ogg/Opus", func(h []byte, _ string) bool { return bytes.HasPrefix(h, []byte("OggS")) }, readOpus},
	{"FLAC", func(h []byte, _ string) bool { return bytes.HasPrefix(h, []byte("fLaC")) }, readFLAC},
	{"MP3", func(h []byte, extension string) bool {
		return bytes.HasPrefix(h, []byte("ID3")) || extension == ".mp3" && len(h) > 1 && h[0] == 0xff && h[1]&0xe0 == 0xe0
	}, readMP3},
}

// guarded turns a decoder's panic into an error: the files are strangers'.
func guarded(decode func() ([]float32, error)) (sound []float32, err error) {
	defer func() {
		if r := recover(); r != nil {
			sound, err = nil, ErrUnreadable
		}
	}()
	return decode()
}

func readWAV(f io.ReadSeeker) ([]float32, error) {
	pcm, err := opus.ReadWAV(f)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrUnreadable, err)
	}
	d := newDown(opus.SampleRate)
	return d.all(pcm), nil
}

func readOpus(f io.ReadSeeker) ([]float32, error) {
	packets, err := opus.ReadOgg(f)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrUnreadable, err)
	}
	o, err := opus.NewDecoder()
	if err != nil {
		return nil, err
	}
	d := newDown(opus.SampleRate)
	bad := 0
	for _, p := range packets {
		pcm, err := o.Decode(p)
		if err != nil {
			bad++
			pcm = make([]int16, opus.FrameSamples)
		}
		d.add(pcm)
		if len(d.out) > maxSamples {
			return nil, errLong
		}
	}
	if bad > len(packets)/10 {
		return nil, fmt.Errorf("%w: %d of %d Opus packets do not decode", ErrUnreadable, bad, len(packets))
	}
	return d.end(), nil
}

func readMP3(f io.ReadSeeker) ([]float32, error) {
	m, err := mp3.NewDecoder(f)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrUnreadable, err)
	}
	d := newDown(m.SampleRate())
	if d == nil {
		return nil, fmt.Errorf("%w: MP3 of %d Hz", ErrUnreadable, m.SampleRate())
	}
	// The library gives two channels of 16 bits.
	buf := make([]byte, 1<<16)
	pcm := make([]int16, 0, len(buf)/4)
	for {
		n, err := io.ReadFull(m, buf)
		pcm = pcm[:0]
		for i := 0; i+3 < n; i += 4 {
			left, right := int16(uint16(buf[i])|uint16(buf[i+1])<<8), int16(uint16(buf[i+2])|uint16(buf[i+3])<<8)
			pcm = append(pcm, int16((int(left)+int(right))/2))
		}
		d.add(pcm)
		if len(d.out) > maxSamples {
			return nil, errLong
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return d.end(), nil
		}
		if err != nil {
			if len(d.out) > 0 {
				return d.end(), nil // cut short, or rubbish behind the sound
			}
			return nil, fmt.Errorf("%w: %v", ErrUnreadable, err)
		}
	}
}

func readFLAC(f io.ReadSeeker) ([]float32, error) {
	s, err := flac.New(f)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrUnreadable, err)
	}
	d := newDown(int(s.Info.SampleRate))
	if d == nil || s.Info.NChannels == 0 || s.Info.BitsPerSample < 8 {
		return nil, fmt.Errorf("%w: FLAC of %d Hz", ErrUnreadable, s.Info.SampleRate)
	}
	shift := int(s.Info.BitsPerSample) - 16
	var pcm []int16
	for {
		frame, err := s.ParseNext()
		if errors.Is(err, io.EOF) {
			return d.end(), nil
		}
		if err != nil {
			if len(d.out) > 0 {
				return d.end(), nil
			}
			return nil, fmt.Errorf("%w: %v", ErrUnreadable, err)
		}
		pcm = pcm[:0]
		for i := range frame.Subframes[0].Samples {
			sum := 0
			for _, c := range frame.Subframes {
				sum += int(c.Samples[i])
			}
			x := float64(sum) / float64(len(frame.Subframes)) / math.Pow(2, float64(shift))
			pcm = append(pcm, int16(max(-32768, min(32767, x))))
		}
		d.add(pcm)
		if len(d.out) > maxSamples {
			return nil, errLong
		}
	}
}

// viaFFmpeg has ffmpeg read any file that it can, the first sound in it.
func viaFFmpeg(ctx context.Context, name string) ([]float32, error) {
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		return nil, fmt.Errorf("%w: it is not WAV, Ogg/Opus, MP3 or FLAC, and there is no ffmpeg here to read it", ErrUnreadable)
	}
	whole, err := filepath.Abs(name) // a name that begins with a hyphen is no flag
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	// Files alone are read: a playlist in disguise fetches nothing.
	cmd := exec.CommandContext(ctx, path, "-hide_banner", "-loglevel", "error", "-nostdin", "-protocol_whitelist", "file,pipe", "-i", whole,
		"-map", "0:a:0", "-f", "s16le", "-ar", fmt.Sprint(watermark.Rate), "-ac", "1", "-")
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("trace: start ffmpeg: %w", err)
	}
	raw, err := io.ReadAll(io.LimitReader(pipe, 2*int64(maxSamples)+2))
	if err == nil && len(raw) > 2*maxSamples {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, errLong
	}
	if failed := cmd.Wait(); failed != nil || err != nil {
		return nil, fmt.Errorf("%w: ffmpeg cannot either", ErrUnreadable)
	}
	out := make([]float32, len(raw)/2)
	for i := range out {
		out[i] = float32(int16(uint16(raw[2*i])|uint16(raw[2*i+1])<<8)) / 32768
	}
	return out, nil
}

// down brings sound of any usual rate to watermark.Rate: a low-pass of Lanczos's shape, evaluated where it is needed.
type down struct {
	step  float64 // input samples for each output sample
	reach int
	in    []int16
	begin int // the number of the first sample of in
	out   []float32
	table []float32 // the filter, 64 steps to an input sample
}

const filterSteps = 64

func newDown(rate int) *down {
	if rate < 4000 || rate > 400000 {
		return nil
	}
	d := &down{step: float64(rate) / watermark.Rate}
	width := max(1, d.step) // of the filter's main lobe, in input samples
	const lobes = 8
	d.reach = int(math.Ceil(lobes * width))
	d.table = make([]float32, d.reach*filterSteps+2)
	for i := range d.table {
		x := float64(i) / filterSteps / width
		v := 1.0
		if x > 0 {
			v = math.Sin(math.Pi*x*0.95) / (math.Pi * x * 0.95)
		}
		if x < lobes {
			v *= 0.5 + 0.5*math.Cos(math.Pi*x/lobes)
		} else {
			v = 0
		}
		d.table[i] = float32(v * 0.95 / width)
	}
	return d
}

func (d *down) add(pcm []int16) {
	d.in = append(d.in, pcm...)
	for {
		at := float64(len(d.out)) * d.step
		middle := int(at)
		if middle+d.reach+1 >= d.begin+len(d.in) {
			break
		}
		d.out = append(d.out, d.sample(at, middle))
	}
	// What no later output needs is dropped, now and then.
	if keep := int(float64(len(d.out))*d.step) - d.reach - 2; keep-d.begin > 1<<16 {
		d.in = append(d.in[:0], d.in[keep-d.begin:]...)
		d.begin = keep
	}
}

func (d *down) sample(at float64, middle int) float32 {
	sum := float32(0)
	for k := middle - d.reach + 1; k <= middle+d.reach; k++ {
		if i := k - d.begin; i >= 0 && i < len(d.in) {
			x := math.Abs(at-float64(k)) * filterSteps
			j := int(x)
			if j+1 < len(d.table) {
				f := float32(x - float64(j))
				sum += (d.table[j]*(1-f) + d.table[j+1]*f) * float32(d.in[i])
			}
		}
	}
	return sum / 32768
}

func (d *down) end() []float32 {
	d.add(make([]int16, d.reach+2))
	return d.out
}

func (d *down) all(pcm []int16) []float32 {
	for len(pcm) > 0 {
		n := min(len(pcm), 1<<16)
		d.add(pcm[:n])
		pcm = pcm[n:]
	}
	return d.end()
}
