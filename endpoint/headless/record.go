package headless

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"unicode"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4/pkg/media/ivfwriter"
	"github.com/pion/webrtc/v4/pkg/media/oggwriter"

	"conclave/endpoint"
	"conclave/opus"
	"conclave/sfu/slot"
)

// Recorder writes what a client hears: one file for each stream of each member, name-leaf.ogg, or .ivf for video. It
// may be used by several goroutines.
type Recorder struct {
	dir string

	mu    sync.Mutex // guards all below
	names map[uint32]string
	files map[voice]*recording
	err   error // the first
}

type recording struct {
	ogg  *oggwriter.OggWriter
	ivf  *ivfwriter.IVFWriter
	last uint32 // RTP timestamp in
	time uint32 // and out
	any  bool
	seq  uint16
}

// NewRecorder records into dir, which it makes.
func NewRecorder(dir string) (*Recorder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("headless: %w", err)
	}
	return &Recorder{dir: dir, names: make(map[uint32]string), files: make(map[voice]*recording)}, nil
}

// Event learns the members' names; a file keeps the one that it began with.
func (r *Recorder) Event(e endpoint.Event) {
	if e.Roster == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range e.Roster.Members {
		r.names[m.Leaf] = m.Name
	}
}

// Frame writes a frame.
func (r *Recorder) Frame(f Frame) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return
	}
	v := voice{f.Leaf, f.Kind}
	file := r.files[v]
	if file == nil {
		if file, r.err = r.create(v); r.err != nil {
			return
		}
		r.files[v] = file
	}
	r.err = file.write(f)
}

// maxGap is the longest gap that is kept in a recording, in seconds; a larger jump is another slot's clock.
const maxGap = 60

func (file *recording) write(f Frame) error {
	rate, least := uint32(90000), uint32(1)
	if file.ogg != nil {
		rate, least = opus.SampleRate, opus.FrameSamples
	}
	if file.any {
		step := f.Timestamp - file.last
		if step < least || step > maxGap*rate {
			step = least
		}
		file.time += step
	}
	file.any, file.last = true, f.Timestamp
	file.seq++
	packet := &rtp.Packet{Header: rtp.Header{Version: 2, Timestamp: file.time, SequenceNumber: file.seq, Marker: true}}
	if file.ogg != nil {
		packet.Payload = append([]byte(nil), f.Data...)
		return file.ogg.WriteRTP(packet)
	}
	// One packet with the descriptor of a frame's beginning (RFC 7741, Section 4.2).
	packet.Payload = append([]byte{0x10}, f.Data...)
	return file.ivf.WriteRTP(packet)
}

func (r *Recorder) create(v voice) (*recording, error) {
	name := fmt.Sprintf("%s-%d", fileName(r.names[v.leaf]), v.leaf)
	switch v.kind {
	case slot.Microphone:
		w, err := oggwriter.New(filepath.Join(r.dir, name+".ogg"), opus.SampleRate, 1)
		if err != nil {
			return nil, fmt.Errorf("headless: record: %w", err)
		}
		return &recording{ogg: w}, nil
	case slot.Screen:
		name += "-screen"
	}
	w, err := ivfwriter.New(filepath.Join(r.dir, name+".ivf"))
	if err != nil {
		return nil, fmt.Errorf("headless: record: %w", err)
	}
	return &recording{ivf: w}, nil
}

// Close ends all files and returns the first error there was.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.err
	for _, f := range r.files {
		if f.ogg != nil {
			err = errors.Join(err, f.ogg.Close())
		} else {
			err = errors.Join(err, f.ivf.Close())
		}
	}
	clear(r.files)
	return err
}

// fileName makes a name fit for a file: letters and digits, all else becomes one hyphen.
func fileName(name string) string {
	out := strings.Join(strings.FieldsFunc(name, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }), "-")
	if len(out) > 64 {
		out = strings.ToValidUTF8(out[:64], "")
	}
	if out == "" {
		return "unknown"
	}
	return out
}
