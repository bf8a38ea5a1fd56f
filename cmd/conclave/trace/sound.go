// Package trace is the work behind `conclave trace`: it reads a recording, opens the keys with which legs marked what they
// played, has package watermark search, words the answer and draws the report's page.
package trace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"

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

// Recording is the sound of a file at watermark.Rate. Where the mark lies is not known: in all channels alike, in one beside
// which another has noise or music, or in two of which one was turned over, which sounds the same and has no mean.
type Recording struct {
	mean   []float32
	side   []int16 // half of left less right; empty where they are the same
	ReadBy string  // who decoded it
	// Damaged says that not all of the file could be read.
	Damaged bool
}

// Length is how much sound there is.
func (r *Recording) Length() time.Duration {
	return time.Duration(len(r.mean)) * time.Second / watermark.Rate
}

// Ways is how many ways there are to read the recording: 1, or 3 where its channels differ.
func (r *Recording) Ways() int {
	if len(r.side) == 0 {
		return 1
	}
	return 3
}

// Way returns one of the ways: the likeliest first. Searches is over how many searches the bound shall hold so that it holds over
// all ways, whichever of them are tried: the inverses add up to one.
func (r *Recording) Way(n int) (sound []float32, name string, searches int) {
	if len(r.side) == 0 {
		return r.mean, "", 1
	}
	left, right := r.channel(1), r.channel(-1)
	m, a, b := energy(r.mean), energy(left), energy(right)
	ways := []struct {
		sound []float32
		name  string
	}{{r.mean, "both channels"}, {left, "the left channel"}, {right, "the right channel"}}
	if b > a {
		ways[1], ways[2] = ways[2], ways[1]
	}
	if m < max(a, b)/10 { // they take each other away
		ways[0], ways[1], ways[2] = ways[1], ways[2], ways[0]
	}
	return ways[n].sound, ways[n].name, [...]int{2, 4, 4}[n]
}

// channel is the mean and so many times the side.
func (r *Recording) channel(sign float32) []float32 {
	out := make([]float32, len(r.mean))
	for i, m := range r.mean {
		out[i] = m + sign*float32(r.side[i])/32768
	}
	return out
}

func energy(sound []float32) (e float64) {
	for _, x := range sound {
		e += float64(x) * float64(x)
	}
	return e
}

// Load reads a recording. WAV, Ogg with Opus, MP3 and FLAC are read here; all else, what is unusual of these, and what is damaged,
// by ffmpeg where there is one.
func Load(ctx context.Context, name string) (*Recording, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%w: over %d bytes", ErrUnreadable, int64(maxFile))
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	defer f.Close()
	head := make([]byte, 1<<14)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("%w: %v", ErrUnreadable, err)
	}
	head = head[:n]
	for _, d := range decoders {
		if !d.fits(head) {
			continue
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return nil, fmt.Errorf("trace: %w", err)
		}
		own, failed := d.read(f)
		if failed == nil || errors.Is(failed, errLong) {
			return own, failed
		}
		// What stopped our decoder need not stop ffmpeg.
		other, err := viaFFmpeg(ctx, name)
		switch {
		case own == nil && err != nil:
			return nil, fmt.Errorf("%w; %s", failed, strings.TrimPrefix(err.Error(), ErrUnreadable.Error()+": "))
		case own == nil || err == nil && len(other.mean) > len(own.mean):
			return other, nil
		}
		return own, nil
	}
	return viaFFmpeg(ctx, name)
}

// decoder reads one kind of file.
type decoder struct {
	name   string
	fits   func(head []byte) bool
	decode func(f io.ReadSeeker, to *channels) error
}

var decoders = []decoder{{"WAV", isWAV, readWAV}, {"Ogg/Opus", isOgg, readOpus}, {"FLAC", isFLAC, readFLAC}, {"MP3", isMP3, readMP3}}

// minLoaded is what a decoder must have read so that its failure is one of the file's end and not of the file.
const minLoaded = int(watermark.MinSound / 1e9 * watermark.Rate)

// read decodes a file. With an error it returns what came before, which may be nil. A decoder's panic is an error as well: the
// files are strangers'.
func (d *decoder) read(f io.ReadSeeker) (*Recording, error) {
	to := new(channels)
	err := func() (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("%w: the decoder failed", ErrUnreadable)
			}
		}()
		return d.decode(f, to)
	}()
	if errors.Is(err, errLong) {
		return nil, err
	}
	if to.left == nil || err != nil && to.left.len() < minLoaded {
		if err == nil {
			err = fmt.Errorf("%w: there is no sound in it", ErrUnreadable)
		}
		return nil, err
	}
	r := to.recording()
	r.ReadBy, r.Damaged = d.name, err != nil
	return r, err
}

// channels takes sound of one or more channels and keeps two: of more, the even and the odd ones are averaged.
type channels struct {
	left, right *down
	count       int
	buf         [2][]float32
}

// start says how many channels at which rate are to come.
func (c *channels) start(rate, count int) error {
	if rate < 4000 || rate > 400000 || count < 1 || count > 32 {
		return fmt.Errorf("%w: %d channels at %d Hz", ErrUnreadable, count, rate)
	}
	c.count = count
	c.left = newDown(rate)
	if count > 1 {
		c.right = newDown(rate)
	}
	return nil
}

// add takes samples from -1 to 1, all channels' by turns.
func (c *channels) add(samples []float32) error {
	c.buf[0], c.buf[1] = c.buf[0][:0], c.buf[1][:0]
	for ; len(samples) >= c.count; samples = samples[c.count:] {
		var sum, n [2]float32
		for i, x := range samples[:c.count] {
			sum[i%2] += x
			n[i%2]++
		}
		c.buf[0] = append(c.buf[0], sum[0]/n[0])
		if c.count > 1 {
			c.buf[1] = append(c.buf[1], sum[1]/n[1])
		}
	}
	c.left.add(c.buf[0])
	if c.right != nil {
		c.right.add(c.buf[1])
	}
	if c.left.len() > maxSamples {
		return errLong
	}
	return nil
}

// recording returns what came, and may be called once.
func (c *channels) recording() *Recording {
	r := &Recording{mean: c.left.end()}
	if c.right == nil {
		return r
	}
	right := c.right.end()
	r.side = make([]int16, len(right))
	var middle, sides float64
	for i, x := range right {
		side := (r.mean[i] - x) / 2
		r.mean[i] = (r.mean[i] + x) / 2
		r.side[i] = int16(max(-32768, min(32767, side*32768)))
		middle, sides = middle+float64(r.mean[i])*float64(r.mean[i]), sides+float64(side)*float64(side)
	}
	// A thousandth is what a coder makes of one channel coded as two: nothing to be read apart.
	if sides <= middle/1000 {
		r.side = nil
	}
	return r
}

// down brings sound of any rate to watermark.Rate: a low-pass of Lanczos's shape, evaluated where it is needed.
type down struct {
	num, den int // input samples for each output sample, as a fraction
	reach    int
	in       []float32
	begin    int // the number of the first sample of in
	out      []float32
	taps     [][]float32 // for each place between two input samples
}

func newDown(rate int) *down {
	divisor, rest := rate, watermark.Rate
	for rest > 0 {
		divisor, rest = rest, divisor%rest
	}
	d := &down{num: rate / divisor, den: watermark.Rate / divisor}
	if d.num == d.den {
		return d
	}
	const lobes = 8
	width := max(1, float64(d.num)/float64(d.den)) // of the filter's main lobe, in input samples
	d.reach = int(math.Ceil(lobes * width))
	d.in, d.begin = make([]float32, d.reach), -d.reach
	d.taps = make([][]float32, d.den)
	for phase := range d.taps {
		taps := make([]float32, 2*d.reach)
		for k := range taps {
			x := math.Abs(float64(k-d.reach+1)-float64(phase)/float64(d.den)) / width
			if x >= lobes {
				continue
			}
			v := 1.0
			if x > 0 {
				v = math.Sin(math.Pi*x*0.95) / (math.Pi * x * 0.95)
			}
			taps[k] = float32(v * (0.5 + 0.5*math.Cos(math.Pi*x/lobes)) * 0.95 / width)
		}
		d.taps[phase] = taps
	}
	return d
}

func (d *down) len() int { return len(d.out) }

func (d *down) add(pcm []float32) {
	if d.num == d.den {
		d.out = append(d.out, pcm...)
		return
	}
	d.in = append(d.in, pcm...)
	for {
		at := len(d.out) * d.num
		from := at/d.den - d.reach + 1 - d.begin
		if from+2*d.reach > len(d.in) {
			break
		}
		sum := float32(0)
		in := d.in[from:][:2*d.reach]
		for k, tap := range d.taps[at%d.den] {
			sum += tap * in[k]
		}
		d.out = append(d.out, sum)
	}
	// What no later output needs is dropped, now and then.
	if keep := len(d.out)*d.num/d.den - d.reach; keep-d.begin > 1<<16 && keep-d.begin < len(d.in) {
		d.in = append(d.in[:0], d.in[keep-d.begin:]...)
		d.begin = keep
	}
}

func (d *down) end() []float32 {
	d.add(make([]float32, d.reach))
	return d.out
}
