// Package sdp reads and writes the session descriptions of phone calls: one stream of sound, offered and answered. What it
// reads was sent by strangers: it takes any bytes, with limits, and never panics. It decides which codec and keying two ends
// agree on; whether that is good enough is for others.
//
// Sources: RFC 8866 (SDP), RFC 3264 (offer and answer), RFC 4568 (a=crypto), RFC 4145 and RFC 5763 (a=setup and
// a=fingerprint), RFC 4733 (telephone-event), RFC 5761 (a=rtcp-mux).
package sdp

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"conclave/phone/media"
)

// Limits of what is read.
const (
	MaxSize    = 8 << 10
	maxLines   = 256
	maxLine    = 1024
	maxMedia   = 8
	maxFormats = 32
	maxCrypto  = 8
)

// ErrMalformed is wrapped by every error of Parse. It never quotes the description.
var ErrMalformed = errors.New("sdp: malformed description")

// Direction says who sends, from the describing end's view.
type Direction uint8

// The directions of a stream (RFC 8866, Section 6.7).
const (
	SendReceive Direction = iota
	SendOnly
	ReceiveOnly
	Inactive
)

// String returns the attribute's name.
func (d Direction) String() string {
	return [...]string{"sendrecv", "sendonly", "recvonly", "inactive"}[d]
}

// Format is one payload type of a stream.
type Format struct {
	Type  uint8
	Name  string // as in a=rtpmap; of static types filled in
	Clock int
	Fmtp  string
}

// Crypto is a usable a=crypto line.
type Crypto struct {
	Tag int
	Key media.Key
}

// Stream is an m= line with what belongs to it.
type Stream struct {
	Kind         string // "audio", "video", …
	Protocol     string // "RTP/AVP", …
	Remote       netip.AddrPort
	Formats      []Format
	Crypto       []Crypto
	Fingerprints []media.Fingerprint
	Setup        string // "", "active", "passive", "actpass"
	Direction    Direction
	Mux          bool
	raw          string // the formats as they came, for refusing the stream
}

// Description is a session description.
type Description struct{ Streams []Stream }

// Parse reads a description.
func Parse(b []byte) (*Description, error) {
	if len(b) == 0 || len(b) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrMalformed, len(b))
	}
	p := parser{d: new(Description)}
	for n, line := range bytes.Split(b, []byte("\n")) {
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			continue
		}
		if n >= maxLines || len(line) > maxLine || len(line) < 2 || line[1] != '=' {
			return nil, fmt.Errorf("%w: line %d", ErrMalformed, n+1)
		}
		if err := p.line(line[0], string(line[2:])); err != nil {
			return nil, fmt.Errorf("%w: line %d: %v", ErrMalformed, n+1, err)
		}
	}
	if !p.version || len(p.d.Streams) == 0 {
		return nil, fmt.Errorf("%w: no stream", ErrMalformed)
	}
	return p.d, nil
}

// parser holds what stands above the first m= line, and goes for those that do not say otherwise.
type parser struct {
	d            *Description
	version      bool
	address      netip.Addr
	direction    Direction
	setup        string
	fingerprints []media.Fingerprint
}

func (p *parser) line(kind byte, value string) error {
	switch kind {
	case 'v':
		p.version = value == "0"
	case 'c':
		return p.connection(value)
	case 'm':
		return p.media(value)
	case 'a':
		return p.attribute(value)
	}
	return nil
}

// connection reads c=. Names are not looked up: a caller shall not make us ask around.
func (p *parser) connection(value string) error {
	f := strings.Fields(value)
	if len(f) != 3 || f[0] != "IN" || f[1] != "IP4" && f[1] != "IP6" {
		return errors.New("connection")
	}
	address, err := netip.ParseAddr(f[2])
	if err != nil || address.Zone() != "" || address.IsMulticast() || address.Is4() != (f[1] == "IP4") {
		return errors.New("address")
	}
	if n := len(p.d.Streams); n > 0 {
		s := &p.d.Streams[n-1]
		s.Remote = netip.AddrPortFrom(address, s.Remote.Port())
	} else {
		p.address = address
	}
	return nil
}

func (p *parser) media(value string) error {
	f := strings.Fields(value)
	if len(f) < 4 || len(p.d.Streams) >= maxMedia || len(f)-3 > maxFormats {
		return errors.New("media")
	}
	number, _, _ := strings.Cut(f[1], "/")
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return errors.New("port")
	}
	s := Stream{Kind: f[0], Protocol: strings.ToUpper(f[2]), Remote: netip.AddrPortFrom(p.address, uint16(port)),
		Direction: p.direction, Setup: p.setup, Fingerprints: p.fingerprints, raw: strings.Join(f[3:], " ")}
	if s.Kind == "audio" {
		for _, text := range f[3:] {
			n, err := strconv.ParseUint(text, 10, 7)
			if err != nil {
				return errors.New("payload type")
			}
			s.Formats = append(s.Formats, static(uint8(n)))
		}
	}
	if !plain(s.Kind) || !plain(s.Protocol) || !plain(s.raw) {
		return errors.New("media")
	}
	p.d.Streams = append(p.d.Streams, s)
	return nil
}

// plain says whether a text may be written back in an answer.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// static is a payload type with what RFC 3551 says of it.
func static(n uint8) Format {
	switch n {
	case 0:
		return Format{Type: n, Name: "PCMU", Clock: 8000}
	case 8:
		return Format{Type: n, Name: "PCMA", Clock: 8000}
	case 9:
		return Format{Type: n, Name: "G722", Clock: 8000}
	}
	return Format{Type: n}
}

func (p *parser) attribute(value string) error {
	name, rest, _ := strings.Cut(value, ":")
	rest = strings.TrimSpace(rest)
	if len(p.d.Streams) == 0 {
		return p.general(name, rest)
	}
	s := &p.d.Streams[len(p.d.Streams)-1]
	switch name {
	case "sendrecv", "sendonly", "recvonly", "inactive":
		s.Direction = direction(name)
	case "rtcp-mux":
		s.Mux = true
	case "setup":
		s.Setup = rest
	case "fingerprint":
		if f, err := media.ParseFingerprint(rest); err == nil && len(s.Fingerprints) < maxCrypto {
			s.Fingerprints = append(s.Fingerprints[:len(s.Fingerprints):len(s.Fingerprints)], f)
		}
	case "crypto":
		if tag, key, err := media.ParseCrypto(rest); err == nil && len(s.Crypto) < maxCrypto {
			s.Crypto = append(s.Crypto, Crypto{Tag: tag, Key: key})
		}
	case "rtpmap":
		s.rtpmap(rest)
	case "fmtp":
		s.fmtp(rest)
	}
	return nil
}

func (p *parser) general(name, rest string) error {
	switch name {
	case "sendrecv", "sendonly", "recvonly", "inactive":
		p.direction = direction(name)
	case "setup":
		p.setup = rest
	case "fingerprint":
		if f, err := media.ParseFingerprint(rest); err == nil && len(p.fingerprints) < maxCrypto {
			p.fingerprints = append(p.fingerprints, f)
		}
	}
	return nil
}

func direction(name string) Direction {
	for d := SendReceive; d <= Inactive; d++ {
		if d.String() == name {
			return d
		}
	}
	return SendReceive
}

// rtpmap names a payload type: "111 opus/48000/2".
func (s *Stream) rtpmap(rest string) {
	number, encoding, _ := strings.Cut(rest, " ")
	f := s.format(number)
	if f == nil {
		return
	}
	name, clock, _ := strings.Cut(strings.TrimSpace(encoding), "/")
	clock, _, _ = strings.Cut(clock, "/")
	n, err := strconv.Atoi(clock)
	if err != nil || n <= 0 || n > 1_000_000 || len(name) > 32 {
		return
	}
	f.Name, f.Clock = name, n
}

func (s *Stream) fmtp(rest string) {
	number, parameters, _ := strings.Cut(rest, " ")
	if f := s.format(number); f != nil && len(parameters) <= 256 {
		f.Fmtp = parameters
	}
}

func (s *Stream) format(number string) *Format {
	n, err := strconv.ParseUint(number, 10, 7)
	if err != nil {
		return nil
	}
	for i := range s.Formats {
		if s.Formats[i].Type == uint8(n) {
			return &s.Formats[i]
		}
	}
	return nil
}
