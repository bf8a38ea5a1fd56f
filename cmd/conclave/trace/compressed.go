package trace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"

	"github.com/hajimehoshi/go-mp3"
	"github.com/mewkiz/flac"

	"conclave/watermark"
)

// isMP3 knows a file by its tag, or by two frames one behind the other; a name proves nothing.
func isMP3(head []byte) bool {
	if bytes.HasPrefix(head, []byte("ID3")) {
		return true
	}
	for at := 0; at+4 <= len(head) && at < 4096; at++ {
		size := mp3Frame(head[at:])
		if size > 0 && at+size+4 <= len(head) && mp3Frame(head[at+size:]) > 0 && head[at+1] == head[at+size+1] {
			return true
		}
	}
	return false
}

// mp3Frame returns the size of the frame of MPEG audio, layer III, whose header stands at the beginning of b; 0 for none.
func mp3Frame(b []byte) int {
	if len(b) < 4 || b[0] != 0xff || b[1]&0xe6 != 0xe2 {
		return 0
	}
	version, rate, bits := b[1]>>3&3, b[2]>>2&3, b[2]>>4
	if version == 1 || rate == 3 || bits == 0 || bits == 15 {
		return 0
	}
	kbits := [...]int{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160}[bits]
	hertz, samples := [...]int{44100, 48000, 32000}[rate], 72
	switch version {
	case 3:
		kbits, samples = [...]int{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320}[bits], 144
	case 2:
		hertz /= 2
	case 0:
		hertz /= 4
	}
	return samples*kbits*1000/hertz + int(b[2]>>1&1)
}

// slowMP3 says whether the first frame is MPEG 2.5, as recorders of speech write at 8 to 12 kHz.
func slowMP3(f io.ReadSeeker) bool {
	head := make([]byte, 1<<14)
	n, _ := io.ReadFull(f, head)
	_, err := f.Seek(0, io.SeekStart)
	head = head[:n]
	if len(head) > 10 && bytes.HasPrefix(head, []byte("ID3")) {
		tag := 10 + int(head[6])<<21 + int(head[7])<<14 + int(head[8])<<7 + int(head[9])
		head = head[min(tag, len(head)):]
	}
	for at := range head {
		if size := mp3Frame(head[at:]); size > 0 && at+size < len(head) && mp3Frame(head[at+size:]) > 0 {
			return err == nil && head[at+1]>>3&3 == 0
		}
	}
	return false
}

func readMP3(f io.ReadSeeker, to *channels) error {
	if slowMP3(f) {
		return fmt.Errorf("%w: MP3 of 8 to 12 kHz (MPEG 2.5) is read by ffmpeg only", ErrUnreadable)
	}
	m, err := mp3.NewDecoder(f)
	if err != nil {
		return fmt.Errorf("%w: %v", ErrUnreadable, err)
	}
	if err := to.start(m.SampleRate(), 2); err != nil {
		return err
	}
	// The library gives two channels of 16 bits.
	buf := make([]byte, 1<<16)
	for {
		n, err := io.ReadFull(m, buf)
		if err := to.add(pcm16(buf[:n/4*4])); err != nil {
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

// pcm16 returns samples of 16 bits as numbers from -1 to 1.
func pcm16(b []byte) []float32 {
	out := make([]float32, len(b)/2)
	for i := range out {
		out[i] = float32(int16(uint16(b[2*i])|uint16(b[2*i+1])<<8)) / 32768
	}
	return out
}

func isFLAC(head []byte) bool { return bytes.HasPrefix(head, []byte("fLaC")) }

func readFLAC(f io.ReadSeeker, to *channels) error {
	s, err := flac.New(f)
	if err != nil {
		return fmt.Errorf("%w: %v", ErrUnreadable, err)
	}
	if s.Info.BitsPerSample < 4 || s.Info.BitsPerSample > 32 {
		return fmt.Errorf("%w: FLAC of %d bits", ErrUnreadable, s.Info.BitsPerSample)
	}
	if err := to.start(int(s.Info.SampleRate), int(s.Info.NChannels)); err != nil {
		return err
	}
	scale := 1 / float32(int64(1)<<(s.Info.BitsPerSample-1))
	var samples []float32
	for {
		frame, err := s.ParseNext()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %v", ErrUnreadable, err)
		}
		if len(frame.Subframes) != int(s.Info.NChannels) {
			return fmt.Errorf("%w: FLAC whose channels change", ErrUnreadable)
		}
		samples = samples[:0]
		for i := range frame.Subframes[0].Samples {
			for _, c := range frame.Subframes {
				samples = append(samples, float32(c.Samples[i])*scale)
			}
		}
		if err := to.add(samples); err != nil {
			return err
		}
	}
}

// viaFFmpeg has ffmpeg read any file that it can, the first sound in it.
func viaFFmpeg(ctx context.Context, name string) (*Recording, error) {
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		return nil, fmt.Errorf("%w: it is not WAV, Ogg/Opus, MP3 or FLAC of a usual kind, and there is no ffmpeg here to read it", ErrUnreadable)
	}
	whole, err := filepath.Abs(name) // a name that begins with a hyphen is no flag
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	// Files alone are read: a playlist in disguise fetches nothing.
	cmd := exec.CommandContext(ctx, path, "-hide_banner", "-loglevel", "error", "-nostdin", "-protocol_whitelist", "file,pipe", "-i", whole,
		"-map", "0:a:0", "-f", "s16le", "-ar", fmt.Sprint(watermark.Rate), "-ac", "2", "-")
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("trace: start ffmpeg: %w", err)
	}
	to := new(channels)
	failed := to.start(watermark.Rate, 2)
	buf := make([]byte, 1<<16)
	for failed == nil {
		n, err := io.ReadFull(pipe, buf)
		failed = to.add(pcm16(buf[:n/4*4]))
		if err != nil {
			break
		}
	}
	if failed != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, failed
	}
	// Of a damaged file it complains, and gives what it could read.
	err = cmd.Wait()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("trace: %w", ctx.Err())
	}
	if to.left.len() == 0 || err != nil && to.left.len() < minLoaded {
		return nil, fmt.Errorf("%w: ffmpeg cannot either", ErrUnreadable)
	}
	r := to.recording()
	r.ReadBy, r.Damaged = "ffmpeg", err != nil
	return r, nil
}
