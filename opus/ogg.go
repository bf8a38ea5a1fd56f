package opus

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// Limits of a file that is read: an hour of sound, and no larger than that at 128 kbit/s.
const (
	maxOggBytes   = 64 << 20
	maxOggPackets = 50 * 3600
)

// ReadOgg reads an Ogg file with one Opus stream and returns its packets, without the two headers, as slices of one
// buffer that is the caller's. Pages with a wrong checksum, gaps, a second stream and packets over MaxPacket are errors
// that wrap ErrFile. Sources: RFC 3533, Section 6; RFC 7845, Section 3.
func ReadOgg(r io.Reader) ([][]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxOggBytes+1))
	if err != nil {
		return nil, fmt.Errorf("opus: read Ogg file: %w", err)
	}
	if len(data) > maxOggBytes {
		return nil, fmt.Errorf("%w: Ogg file over %d bytes", ErrFile, maxOggBytes)
	}
	packets, err := oggPackets(data)
	if err != nil {
		return nil, err
	}
	if len(packets) < 2 || len(packets[0]) < 19 || !bytes.HasPrefix(packets[0], []byte("OpusHead")) || packets[0][8]>>4 != 0 {
		return nil, fmt.Errorf("%w: no Opus header", ErrFile)
	}
	if channels := packets[0][9]; channels != 1 {
		return nil, fmt.Errorf("%w: %d channels, must be 1", ErrFile, channels)
	}
	if !bytes.HasPrefix(packets[1], []byte("OpusTags")) {
		return nil, fmt.Errorf("%w: no comment header", ErrFile)
	}
	packets = packets[2:]
	for i, p := range packets {
		if len(p) == 0 || len(p) > MaxPacket {
			return nil, fmt.Errorf("%w: packet %d of %d bytes", ErrFile, i, len(p))
		}
	}
	return packets, nil
}

// oggPackets joins the segments of all pages of the file's only stream.
func oggPackets(data []byte) ([][]byte, error) {
	var (
		packets  [][]byte
		joined   = make([]byte, 0, len(data)) // never grows: packets point into it
		start    int                          // of the open packet in joined
		open     bool
		serial   uint32
		sequence uint32
	)
	for len(data) > 0 {
		segments, body, rest, err := oggPage(data)
		if err != nil {
			return nil, err
		}
		s, n := binary.LittleEndian.Uint32(data[14:]), binary.LittleEndian.Uint32(data[18:])
		if sequence == 0 {
			serial = s
		}
		continued := data[5]&1 != 0
		if s != serial || n != sequence || continued != open {
			return nil, fmt.Errorf("%w: Ogg page %d is out of place", ErrFile, sequence)
		}
		for _, lace := range segments {
			joined = append(joined, body[:lace]...)
			body = body[lace:]
			open = lace == 255
			if !open {
				packets = append(packets, joined[start:len(joined):len(joined)])
				start = len(joined)
			}
		}
		if len(packets) > maxOggPackets {
			return nil, fmt.Errorf("%w: over %d packets", ErrFile, maxOggPackets)
		}
		data = rest
		sequence++
	}
	if open {
		return nil, fmt.Errorf("%w: Ogg file ends within a packet", ErrFile)
	}
	return packets, nil
}

// oggPage checks the page at the beginning of data and divides it.
func oggPage(data []byte) (segments, body, rest []byte, err error) {
	const header = 27
	if len(data) < header || string(data[:4]) != "OggS" || data[4] != 0 {
		return nil, nil, nil, fmt.Errorf("%w: not an Ogg page", ErrFile)
	}
	end := header + int(data[26])
	if len(data) < end {
		return nil, nil, nil, fmt.Errorf("%w: short Ogg page", ErrFile)
	}
	segments = data[header:end]
	size := 0
	for _, lace := range segments {
		size += int(lace)
	}
	if len(data) < end+size {
		return nil, nil, nil, fmt.Errorf("%w: short Ogg page", ErrFile)
	}
	sum := OggChecksum(data[:end+size])
	if sum != binary.LittleEndian.Uint32(data[22:]) {
		return nil, nil, nil, fmt.Errorf("%w: Ogg page with a wrong checksum", ErrFile)
	}
	return segments, data[end : end+size], data[end+size:], nil
}

// oggTable is the CRC of RFC 3533: polynomial 0x04c11db7, not reflected, so not one of hash/crc32.
var oggTable = func() (t [256]uint32) {
	for i := range t {
		c := uint32(i) << 24
		for range 8 {
			if c&(1<<31) != 0 {
				c = c<<1 ^ 0x04c11db7
			} else {
				c <<= 1
			}
		}
		t[i] = c
	}
	return t
}()

// OggChecksum is an Ogg page's checksum (RFC 3533): over the page of at least 27 bytes, with nothing in its own field.
func OggChecksum(page []byte) (c uint32) {
	for i, x := range page {
		if i >= 22 && i < 26 {
			x = 0
		}
		c = c<<8 ^ oggTable[byte(c>>24)^x]
	}
	return c
}
