package trace

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"conclave/opus"
)

func isOgg(head []byte) bool { return bytes.HasPrefix(head, []byte("OggS")) }

// oggReader takes Ogg apart as it comes (RFC 3533) and bears what leaked files are like: cut off, pages lost, other
// streams between. What is whole of the first Opus stream is read.
type oggReader struct {
	r      *bufio.Reader
	serial uint32
	chosen bool
	open   []byte // the packet that goes on in the next page
	within bool   // there is one
	ended  bool   // the stream's last page was read
	lost   bool   // something was skipped
}

const oggHeader = 27

// page returns the next page whose checksum is right: its header's bytes and its body.
func (o *oggReader) page() (head, segments, body []byte, err error) {
	for {
		// A page is at most 65 307 bytes, which the reader's buffer holds.
		b, err := o.r.Peek(oggHeader)
		if err != nil {
			return nil, nil, nil, io.EOF
		}
		if string(b[:4]) == "OggS" && b[4] == 0 {
			n := oggHeader + int(b[26])
			if b, err = o.r.Peek(n); err == nil {
				size := n
				for _, lace := range b[oggHeader:] {
					size += int(lace)
				}
				if b, err = o.r.Peek(size); err == nil && opus.OggChecksum(b) == binary.LittleEndian.Uint32(b[22:]) {
					page := bytes.Clone(b)
					_, _ = o.r.Discard(size)
					return page[:oggHeader], page[oggHeader:n], page[n:], nil
				}
			}
		}
		o.lost = true
		_, _ = o.r.Discard(1)
		for {
			b, err := o.r.Peek(4)
			if err != nil {
				return nil, nil, nil, io.EOF
			}
			if string(b) == "OggS" {
				break
			}
			_, _ = o.r.Discard(1)
		}
	}
}

// packets calls f with the packets of the first Opus stream, and of those chained behind it.
func (o *oggReader) packets(f func(packet []byte) error) error {
	for {
		head, segments, body, err := o.page()
		if errors.Is(err, io.EOF) {
			o.lost = o.lost || !o.ended
			return nil
		}
		serial := binary.LittleEndian.Uint32(head[14:])
		if begins := head[5]&2 != 0; begins && bytes.HasPrefix(body, []byte("OpusHead")) {
			if !o.chosen || serial != o.serial {
				o.serial, o.chosen, o.open, o.within = serial, true, nil, false
			}
		}
		if !o.chosen || serial != o.serial {
			continue
		}
		o.ended = head[5]&4 != 0
		// A packet whose beginning or end was lost is left out.
		if continued := head[5]&1 != 0; continued != o.within {
			o.lost = true
			if o.open, o.within = nil, false; continued {
				for len(segments) > 0 {
					lace := segments[0]
					segments, body = segments[1:], body[lace:]
					if lace < 255 {
						break
					}
				}
			}
		}
		for _, lace := range segments {
			o.open, body = append(o.open, body[:lace]...), body[lace:]
			if o.within = lace == 255; o.within {
				continue
			}
			packet := o.open
			o.open = nil
			if err := f(packet); err != nil {
				return err
			}
		}
	}
}

func readOpus(f io.ReadSeeker, to *channels) error {
	decoder, err := opus.NewStereoDecoder()
	if err != nil {
		return err
	}
	o := &oggReader{r: bufio.NewReaderSize(f, 1<<17)}
	good, bad := 0, 0
	samples := make([]float32, 0, 2*opus.MaxSamples)
	err = o.packets(func(packet []byte) error {
		switch {
		case bytes.HasPrefix(packet, []byte("OpusHead")):
			// Family 0 is one or two channels in one Opus stream (RFC 7845, Section 5.1.1); others have several.
			if len(packet) < 19 || packet[8]>>4 != 0 || packet[9] < 1 || packet[9] > 2 || packet[18] != 0 {
				return fmt.Errorf("%w: Opus of more than two channels", ErrUnreadable)
			}
			if decoder, err = opus.NewStereoDecoder(); err != nil || to.left != nil {
				return err
			}
			return to.start(opus.SampleRate, 2)
		case bytes.HasPrefix(packet, []byte("OpusTags")) || to.left == nil:
			return nil
		}
		pcm, err := decoder.Decode(packet)
		if err != nil {
			bad++
			pcm = make([]int16, 2*opus.FrameSamples)
		} else {
			good++
		}
		samples = samples[:0]
		for _, x := range pcm {
			samples = append(samples, float32(x)/32768)
		}
		return to.add(samples)
	})
	switch {
	case err != nil:
		return err
	case good == 0:
		return fmt.Errorf("%w: no Opus in this Ogg file", ErrUnreadable)
	case bad > good/10:
		return fmt.Errorf("%w: %d of %d Opus packets do not decode", ErrUnreadable, bad, good+bad)
	case o.lost:
		return fmt.Errorf("%w: pieces of the Ogg file are lacking", ErrUnreadable)
	}
	return nil
}
