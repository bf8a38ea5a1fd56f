package headless

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pion/webrtc/v4/pkg/media/ivfreader"

	"conclave/opus"
)

// silence is a packet of silence, of the size that all packets have, as package opus encodes it.
var silence = func() []byte {
	b, err := hex.DecodeString("7806e37227e13e5308e8fc0fd62717b5b596ff7a45c0f059bcd1ab2326acd3b05f94bb40c805ca46" +
		"a104883fe70ae87a89970a8fe3a74fa05ec4a17ae8f56cff56298ba501d10701e2f80f1783a20c00")
	if err != nil {
		panic("headless: silence: " + err.Error())
	}
	return b
}()

// ErrPlay is wrapped by errors that blame a file that shall be played.
var ErrPlay = errors.New("headless: file cannot be played")

// packets is a Sound that is encoded already.
type packets struct {
	list [][]byte
	loud []bool // of each packet; nil: not known, all count as speech
	next int
	loop bool
}

// Next implements Sound.
func (p *packets) Next() []byte {
	if p.next == len(p.list) {
		if !p.loop || len(p.list) == 0 {
			return nil
		}
		p.next = 0
	}
	p.next++
	return p.list[p.next-1]
}

// Loud says whether the last packet was louder than a quiet room.
func (p *packets) Loud() bool { return p.loud == nil || p.next > 0 && p.loud[p.next-1] }

// LoadSound reads a sound file: Ogg with Opus, or WAV. Opus packets of another size than all others send are encoded
// anew: their sizes would tell what is said.
func LoadSound(name string, loop bool) (Sound, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrPlay, err)
	}
	defer f.Close()
	return ReadSound(f, strings.ToLower(filepath.Ext(name)), loop)
}

// ReadSound is LoadSound of an open file; kind is its extension, with the dot.
func ReadSound(r io.Reader, kind string, loop bool) (Sound, error) {
	switch kind {
	case ".wav":
		pcm, err := opus.ReadWAV(r)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrPlay, err)
		}
		return encode(pcm, loop)
	case ".ogg", ".opus":
		list, err := opus.ReadOgg(r)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrPlay, err)
		}
		for _, p := range list {
			if len(p) != opus.FrameBytes {
				return reencode(list, loop)
			}
		}
		return &packets{list: list, loop: loop}, nil
	}
	return nil, fmt.Errorf("%w: sound is .ogg, .opus or .wav", ErrPlay)
}

func reencode(list [][]byte, loop bool) (Sound, error) {
	d, err := opus.NewDecoder()
	if err != nil {
		return nil, err
	}
	var pcm []int16
	for _, p := range list {
		samples, err := d.Decode(p)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrPlay, err)
		}
		pcm = append(pcm, samples...)
	}
	return encode(pcm, loop)
}

func encode(pcm []int16, loop bool) (Sound, error) {
	e, err := opus.NewEncoder(opus.Config{})
	if err != nil {
		return nil, err
	}
	defer e.Close()
	p := &packets{loop: loop}
	for len(pcm) > 0 {
		var frame [opus.FrameSamples]int16
		pcm = pcm[copy(frame[:], pcm):]
		b, err := e.Encode(nil, frame[:])
		if err != nil {
			return nil, err
		}
		p.list, p.loud = append(p.list, b), append(p.loud, isLoud(&frame))
	}
	return p, nil
}

// maxVideo bounds a video file.
const maxVideo = 256 << 20

// pictures is a Video that is encoded already.
type pictures struct {
	frames [][]byte
	shown  time.Duration
	next   int
	loop   bool
}

// Next implements Video.
func (p *pictures) Next() ([]byte, bool, time.Duration) {
	if p.next == len(p.frames) {
		if !p.loop {
			return nil, false, time.Second
		}
		p.next = 0
	}
	f := p.frames[p.next]
	p.next++
	return f, isKeyFrame(f), p.shown
}

// isKeyFrame reads the first bit of a VP8 frame (RFC 6386, Section 9.1).
func isKeyFrame(f []byte) bool { return len(f) > 0 && f[0]&1 == 0 }

// LoadVideo reads an IVF file with VP8.
func LoadVideo(name string, loop bool) (Video, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrPlay, err)
	}
	if info.Size() > maxVideo {
		return nil, fmt.Errorf("%w: video over %d bytes", ErrPlay, maxVideo)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrPlay, err)
	}
	return ReadVideo(b, loop)
}

// ReadVideo is LoadVideo of a file's content.
func ReadVideo(content []byte, loop bool) (Video, error) {
	r, header, err := ivfreader.NewWith(bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrPlay, err)
	}
	if header.FourCC != "VP80" || header.TimebaseDenominator == 0 || header.TimebaseNumerator == 0 {
		return nil, fmt.Errorf("%w: video is IVF with VP8", ErrPlay)
	}
	if !wholeIVF(content) {
		return nil, fmt.Errorf("%w: video is cut short", ErrPlay)
	}
	p := &pictures{loop: loop}
	var first, last uint64
	for {
		frame, h, err := r.ParseNextFrame()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %v", ErrPlay, err)
		}
		if len(p.frames) == 0 {
			first = h.Timestamp
		}
		last = h.Timestamp
		p.frames = append(p.frames, frame)
	}
	if len(p.frames) < 2 || !isKeyFrame(p.frames[0]) || last <= first {
		return nil, fmt.Errorf("%w: a video begins with a key frame and has two frames at least", ErrPlay)
	}
	// The reader multiplies a time by the clock's rate where IVF counts in units of its inverse.
	rate := float64(header.TimebaseDenominator) / float64(header.TimebaseNumerator)
	ticks := float64(last-first) / rate / float64(len(p.frames)-1)
	p.shown = time.Duration(ticks / rate * float64(time.Second))
	p.shown = max(p.shown, time.Millisecond)
	return p, nil
}

// wholeIVF tells whether all frames lie within the file, so that the reader makes room for no more than there is.
func wholeIVF(content []byte) bool {
	const fileHeader, frameHeader = 32, 12
	if len(content) < fileHeader {
		return false
	}
	for rest := content[fileHeader:]; len(rest) > 0; {
		if len(rest) < frameHeader {
			return false
		}
		size := uint64(binary.LittleEndian.Uint32(rest))
		if size > uint64(len(rest)-frameHeader) {
			return false
		}
		rest = rest[frameHeader+size:]
	}
	return true
}
