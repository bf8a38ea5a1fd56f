// Package prompt is what the phone gateway says to a caller: sentences in German, English and French, as recordings that an
// operator can replace. It is for the gateway; when which is spoken is the gateway's affair.
//
// The sentences stand in texts/, one a line with its name. The built-in recordings are made from them by the script
// generate and are checked in (see recordings/NOTICE).
package prompt

import (
	"bytes"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"conclave/opus"
	"conclave/phone/dsp"
)

// Language is a language by its code in a=lang or Accept-Language.
type Language string

// The languages of the built-in recordings.
const (
	German  Language = "de"
	English Language = "en"
	French  Language = "fr"
)

// Languages lists them; the place of one, counted from 1, is the key that its Choose sentence names.
var Languages = [...]Language{German, English, French}

// Name names a sentence, and its file without the ending.
type Name string

// The sentences.
const (
	Choose   Name = "language" // which key gives this language
	Code     Name = "code"     // enter the personal code, then hash
	Wrong    Name = "wrong"    // that code was wrong
	Locked   Name = "locked"   // three wrong codes; the call ends
	Refused  Name = "refused"  // the level forbids the line; why, and what happens next
	Unknown  Name = "unknown"  // nobody known may call from there
	Warning  Name = "warning"  // what an open line means
	Hop      Name = "hop"      // what a line means that is encrypted to the gateway
	Consent  Name = "consent"  // after either: 1 goes on
	Waiting  Name = "waiting"  // at the door
	Admitted Name = "admitted"
	Declined Name = "declined" // the chair did not let the caller in
	Raised   Name = "raised"   // the level was raised above the line
	Removed  Name = "removed"  // the chair dropped the leg
	Over     Name = "over"     // the meeting is over
	Soon     Name = "soon"     // a minute is left
	Time     Name = "time"     // no time is left
	Paused   Name = "paused"
	Resumed  Name = "resumed"
	Muted    Name = "muted"    // the chair muted all; 1 lets the caller be heard again
	Unmuted  Name = "unmuted"  // and they are
	Full     Name = "full"     // no leg is free
	Failed   Name = "failed"   // something of ours failed
	CallBack Name = "callback" // we rang; 1 says that it is the person we mean
	RingBack Name = "ringback" // after Refused: be rung at the number in the directory, by 2
	Ringing  Name = "ringing"  // we ring; this call ends

	Joined    Name = "joined"    // to the room: an open line came in
	JoinedHop Name = "joinedhop" // to the room: a hop came in
	Whose     Name = "whose"     // to the room, after these, where no name is recorded: who it is, the list says
)

// Names lists all sentences. Every language has all of them.
var Names = [...]Name{
	Choose, Code, Wrong, Locked, Refused, Unknown, Warning, Hop, Consent, Waiting, Admitted, Declined, Raised, Removed, Over, Soon, Time,
	Paused, Resumed, Muted, Unmuted, Full, Failed, CallBack, RingBack, Ringing, Joined, JoinedHop, Whose,
}

//go:embed recordings/*/*.opus
var builtIn embed.FS

//go:embed texts/*.txt
var texts embed.FS

// Rate is the number of samples in a second of an operator's recordings.
const Rate = 16000

// Limits of a recording.
const (
	MinLength = 300 * time.Millisecond
	MaxLength = 60 * time.Second
	maxFile   = 2*Rate*60 + 4096 // bytes of a WAV file
)

// ErrRecording is wrapped by the errors that blame an operator's recording.
var ErrRecording = errors.New("prompt: unusable recording")

// recording is a sentence in one of two forms.
type recording struct {
	packets [][]byte // Opus, 20 ms each
	samples []int16  // at Rate
}

// Set is a set of recordings. It is safe for use by several goroutines, and its recordings do not change.
type Set struct {
	recordings map[Language]map[Name]recording
}

// BuiltIn returns the built-in recordings.
func BuiltIn() (*Set, error) {
	s := &Set{make(map[Language]map[Name]recording)}
	for _, l := range Languages {
		s.recordings[l] = make(map[Name]recording)
		for _, n := range Names {
			file, err := builtIn.ReadFile(path.Join("recordings", string(l), string(n)+".opus"))
			if err != nil {
				return nil, fmt.Errorf("prompt: read built-in recording: %v", err)
			}
			packets, err := opus.ReadOgg(bytes.NewReader(file))
			if err != nil {
				return nil, fmt.Errorf("prompt: read built-in recording %s/%s: %v", l, n, err)
			}
			s.recordings[l][n] = recording{packets: packets}
		}
	}
	return s, nil
}

// Load returns the built-in recordings, with those of folder in place of whole languages: for each folder de, en or fr in it
// there must be every sentence of Names as <name>.wav, 16 kHz, mono, 16 bits, of 0.3 to 60 s. All that is wrong is said in one
// error, which wraps ErrRecording: a caller must not be the first to find out.
func Load(folder fs.FS) (*Set, error) {
	s, err := BuiltIn()
	if err != nil {
		return nil, err
	}
	var wrong []error
	found := false
	for _, l := range Languages {
		if info, err := fs.Stat(folder, string(l)); err != nil || !info.IsDir() {
			continue
		}
		found = true
		for _, n := range Names {
			samples, err := readFile(folder, path.Join(string(l), string(n)+".wav"))
			if err != nil {
				wrong = append(wrong, err)
				continue
			}
			s.recordings[l][n] = recording{samples: samples}
		}
	}
	if !found {
		wrong = append(wrong, fmt.Errorf("%w: the folder has none of the folders de, en and fr", ErrRecording))
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	return s, nil
}

func readFile(folder fs.FS, name string) ([]int16, error) {
	f, err := folder.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %v", ErrRecording, name, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %v", ErrRecording, name, err)
	}
	samples, err := parseWAV(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %v", ErrRecording, name, err)
	}
	return samples, nil
}

// parseWAV reads a RIFF/WAVE file of 16 kHz, mono, 16 bits, linear.
func parseWAV(b []byte) ([]int16, error) {
	le := binary.LittleEndian
	if len(b) > maxFile {
		return nil, fmt.Errorf("longer than %v", MaxLength)
	}
	if len(b) < 12 || string(b[:4]) != "RIFF" || string(b[8:12]) != "WAVE" {
		return nil, errors.New("not a WAV file")
	}
	format := false
	for b = b[12:]; len(b) >= 8; {
		id, size := string(b[:4]), uint64(le.Uint32(b[4:]))
		if b = b[8:]; size > uint64(len(b)) {
			return nil, errors.New("cut off")
		}
		body := b[:size]
		b = b[min(size+size&1, uint64(len(b))):]
		switch id {
		case "fmt ":
			if size < 16 || le.Uint16(body) != 1 || le.Uint16(body[2:]) != 1 || le.Uint32(body[4:]) != Rate || le.Uint16(body[14:]) != 16 {
				return nil, errors.New("not 16 kHz, mono, 16 bits, linear")
			}
			format = true
		case "data":
			if !format {
				return nil, errors.New("sound before its format")
			}
			samples := make([]int16, size/2)
			for i := range samples {
				samples[i] = int16(le.Uint16(body[2*i:]))
			}
			return samples, check(samples)
		}
	}
	return nil, errors.New("without sound")
}

// check refuses what nobody could hear.
func check(samples []int16) error {
	length := time.Duration(len(samples)) * time.Second / Rate
	if length < MinLength || length > MaxLength {
		return fmt.Errorf("%v long, must be %v to %v", length.Round(time.Millisecond), MinLength, MaxLength)
	}
	peak := int16(0)
	for _, s := range samples {
		peak = max(peak, s)
	}
	if peak < 1000 {
		return errors.New("silent, or almost")
	}
	return nil
}

// Source returns the sentence n in language l, or in English where l is not known, from its beginning.
func (s *Set) Source(l Language, n Name) dsp.Source {
	byName, ok := s.recordings[l]
	if !ok {
		byName = s.recordings[English]
	}
	r, ok := byName[n]
	if !ok {
		panic("prompt: no sentence " + string(n))
	}
	if r.samples != nil {
		return &linear{rest: r.samples, up: dsp.NewUpsampler(Rate)}
	}
	decoder, err := opus.NewDecoder()
	if err != nil {
		panic("prompt: start decoder: " + err.Error()) // has no cause but a wrong constant of ours
	}
	return &packets{rest: r.packets, decoder: decoder}
}

// Length returns how long the sentence takes, to the next 20 ms.
func (s *Set) Length(l Language, n Name) time.Duration {
	source, frames := s.Source(l, n), time.Duration(0)
	var f dsp.Frame
	for source.Next(&f) {
		frames++
	}
	return frames * 20 * time.Millisecond
}

// Text returns the sentence as built in, for a transcript or a test; empty where there is none.
func Text(l Language, n Name) string {
	b, err := texts.ReadFile("texts/" + string(l) + ".txt")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if name, text, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && name == string(n) {
			return text
		}
	}
	return ""
}

// packets plays Opus.
type packets struct {
	rest    [][]byte
	decoder *opus.Decoder
}

func (p *packets) Next(f *dsp.Frame) bool {
	if len(p.rest) == 0 {
		return false
	}
	pcm, err := p.decoder.Decode(p.rest[0])
	p.rest = p.rest[1:]
	clear(f[:])
	if err == nil {
		copy(f[:], pcm)
	}
	return true
}

// linear plays an operator's recording.
type linear struct {
	rest []int16
	up   *dsp.Upsampler
	pcm  [dsp.FrameSamples]int16
}

func (l *linear) Next(f *dsp.Frame) bool {
	if len(l.rest) == 0 {
		return false
	}
	n := min(len(l.rest), Rate/50)
	clear(f[:])
	copy(f[:], l.up.Append(l.pcm[:0], l.rest[:n]))
	l.rest = l.rest[n:]
	return true
}
