package sdp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"conclave/phone/codec"
	"conclave/phone/media"
)

// ErrNothing means that two ends have no codec or keying in common.
var ErrNothing = errors.New("sdp: nothing in common")

// Ours is our end of a call.
type Ours struct {
	Address     netip.Addr // that stands in c=: behind a NAT the outer one
	Port        uint16
	Key         func(media.Profile) (media.Key, error) // our key for a=crypto
	Fingerprint media.Fingerprint                      // of our certificate for DTLS-SRTP; the zero value: none
	Session     uint64                                 // o=: the same in all descriptions of a call
	Version     uint64                                 // o=: greater with each
	Peer        netip.Addr                             // where the other end's SIP comes from
	Codecs      []codec.Codec                          // that may be used; nil: all
}

// digitType is the payload type of telephone-event in our offers.
const digitType = 101

// keying says how a stream's packets would be protected. Keys that stand beside a clear protocol do not count: nothing
// demands that they be used.
func (s *Stream) keying() (media.Keying, bool) {
	switch s.Protocol {
	case "RTP/AVP", "RTP/AVPF":
		return media.Clear, true
	case "UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF":
		return media.DTLS, len(s.Fingerprints) > 0
	case "RTP/SAVP", "RTP/SAVPF":
		if len(s.Crypto) > 0 {
			return media.SDES, true
		}
		return media.DTLS, len(s.Fingerprints) > 0
	}
	return media.Clear, false
}

// pick returns the stream to take of an offer: the first of those that are protected, else the first.
func (d *Description) pick(may func(*Stream, media.Keying) bool) int {
	best := -1
	for i := range d.Streams {
		s := &d.Streams[i]
		keying, ok := s.keying()
		if s.Kind != "audio" || s.Remote.Port() == 0 || !ok || !may(s, keying) {
			continue
		}
		if keying != media.Clear {
			return i
		}
		if best < 0 {
			best = i
		}
	}
	return best
}

// codec returns the codec to use: the first of theirs that we speak, but Opus or G.722 before G.711.
func (o *Ours) codec(s *Stream) (codec.Codec, uint8, bool) {
	for _, c := range codec.Preferred {
		if o.Codecs != nil && !slices.Contains(o.Codecs, c) {
			continue
		}
		for _, f := range s.Formats {
			if got, ok := codec.ByName(f.Name, f.Clock); ok && got == c {
				return c, f.Type, true
			}
		}
	}
	return 0, 0, false
}

func digitTypes(s *Stream) []uint8 {
	var out []uint8
	for _, f := range s.Formats {
		if strings.EqualFold(f.Name, "telephone-event") && len(out) < 4 {
			out = append(out, f.Type)
		}
	}
	return out
}

// Keying returns how the packets would be protected if an offer were answered now; ok is false if it cannot be.
func (o *Ours) Keying(d *Description) (k media.Keying, ok bool) {
	i := d.pick(o.may)
	if i < 0 {
		return 0, false
	}
	return d.Streams[i].keying()
}

func (o *Ours) may(s *Stream, k media.Keying) bool {
	_, _, ok := o.codec(s)
	return ok && (k != media.DTLS || o.Fingerprint.Hash != "")
}

// Answer answers an offer: all streams but one are refused. Errors wrap ErrNothing.
func (o *Ours) Answer(offer *Description) ([]byte, media.Agreement, error) {
	at := offer.pick(o.may)
	if at < 0 {
		return nil, media.Agreement{}, ErrNothing
	}
	s := &offer.Streams[at]
	a := o.agreement(s)
	var b strings.Builder
	o.head(&b)
	for i := range offer.Streams {
		other := &offer.Streams[i]
		if i != at {
			fmt.Fprintf(&b, "m=%s 0 %s %s\r\n", other.Kind, other.Protocol, other.raw)
			continue
		}
		o.stream(&b, s.Protocol, []Format{{Type: a.PayloadType, Name: a.Codec.Name(), Clock: a.Codec.ClockRate()}}, a.DigitTypes[:min(1, len(a.DigitTypes))])
		switch a.Security.Keying {
		case media.SDES:
			c := best(s.Crypto)
			key, err := o.Key(c.Key.Profile)
			if err != nil {
				return nil, a, err
			}
			a.Security.Sending, a.Security.Receiving = key, c.Key
			fmt.Fprintf(&b, "a=crypto:%s\r\n", key.Crypto(c.Tag))
		case media.DTLS:
			// RFC 5763, Section 5: the answerer chooses; active begins the handshake sooner.
			setup := "active"
			if s.Setup == "active" {
				setup = "passive"
			}
			a.Security.Active = setup == "active"
			a.Security.Fingerprints = s.Fingerprints
			fmt.Fprintf(&b, "a=setup:%s\r\na=fingerprint:%s\r\n", setup, o.Fingerprint)
		}
		if s.Mux {
			b.WriteString("a=rtcp-mux\r\n")
		}
		fmt.Fprintf(&b, "a=%s\r\n", mirror(s.Direction))
	}
	return []byte(b.String()), a, nil
}

// agreement is what taking stream s comes to, but for the keys.
func (o *Ours) agreement(s *Stream) media.Agreement {
	c, payloadType, _ := o.codec(s)
	keying, _ := s.keying()
	hold := s.Remote.Addr().IsValid() && s.Remote.Addr().IsUnspecified() // RFC 3264, Section 8.4: the old way to hold
	return media.Agreement{
		Remote: s.Remote, Peer: o.Peer, Codec: c, PayloadType: payloadType, DigitTypes: digitTypes(s), Mux: s.Mux,
		Security: media.Security{Keying: keying},
		NoSend:   s.Direction == SendOnly || s.Direction == Inactive || hold,
		NoListen: s.Direction == ReceiveOnly || s.Direction == Inactive,
	}
}

// best returns the strongest of the keys that were offered.
func best(list []Crypto) Crypto {
	for _, p := range media.Profiles {
		for _, c := range list {
			if c.Key.Profile == p {
				return c
			}
		}
	}
	return list[0]
}

// mirror is the direction that answers d.
func mirror(d Direction) Direction {
	switch d {
	case SendOnly:
		return ReceiveOnly
	case ReceiveOnly:
		return SendOnly
	}
	return d
}

// offered are the SRTP profiles of our offers: the one that everybody has, and a better one.
var offered = []media.Profile{media.AES128GCM, media.AES128CM}

// Offer writes an offer: with keys and nothing else, or in the clear.
func (o *Ours) Offer(secure bool) ([]byte, error) {
	var b strings.Builder
	o.head(&b)
	var formats []Format
	for _, c := range codec.Preferred {
		if o.Codecs == nil || slices.Contains(o.Codecs, c) {
			formats = append(formats, Format{Type: c.PayloadType(), Name: c.Name(), Clock: c.ClockRate()})
		}
	}
	protocol := "RTP/AVP"
	if secure {
		protocol = "RTP/SAVP"
	}
	o.stream(&b, protocol, formats, []uint8{digitType})
	if secure {
		for i, p := range offered {
			key, err := o.Key(p)
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(&b, "a=crypto:%s\r\n", key.Crypto(i+1))
		}
	}
	b.WriteString("a=sendrecv\r\n")
	return []byte(b.String()), nil
}

// Take takes the answer to an offer of ours. An answer in the clear to a secure offer is none.
func (o *Ours) Take(answer *Description, secure bool) (media.Agreement, error) {
	if len(answer.Streams) != 1 || answer.Streams[0].Kind != "audio" || answer.Streams[0].Remote.Port() == 0 {
		return media.Agreement{}, ErrNothing
	}
	s := &answer.Streams[0]
	keying, ok := s.keying()
	if _, _, known := o.codec(s); !ok || !known || secure != (keying == media.SDES) || keying == media.DTLS {
		return media.Agreement{}, ErrNothing
	}
	a := o.agreement(s)
	if secure {
		c := s.Crypto[0]
		if len(s.Crypto) != 1 || c.Tag < 1 || c.Tag > len(offered) || offered[c.Tag-1] != c.Key.Profile {
			return a, ErrNothing // RFC 4568, Section 5.1.3: the answer has the accepted line, with its tag
		}
		key, err := o.Key(c.Key.Profile)
		if err != nil {
			return a, err
		}
		a.Security.Sending, a.Security.Receiving = key, c.Key
	}
	return a, nil
}

func (o *Ours) head(b *strings.Builder) {
	family := "IP4"
	if o.Address.Is6() {
		family = "IP6"
	}
	fmt.Fprintf(b, "v=0\r\no=- %d %d IN %s %s\r\ns=-\r\nc=IN %s %s\r\nt=0 0\r\n", o.Session, o.Version, family, o.Address, family, o.Address)
}

func (o *Ours) stream(b *strings.Builder, protocol string, formats []Format, digits []uint8) {
	fmt.Fprintf(b, "m=audio %d %s", o.Port, protocol)
	for _, f := range formats {
		fmt.Fprintf(b, " %d", f.Type)
	}
	for _, d := range digits {
		fmt.Fprintf(b, " %d", d)
	}
	b.WriteString("\r\n")
	for _, f := range formats {
		if f.Name == codec.Opus.Name() {
			// A constant rate: sizes must not tell what is said (RFC 7587, Section 6.1).
			fmt.Fprintf(b, "a=rtpmap:%d opus/48000/2\r\na=fmtp:%d cbr=1;usedtx=0;stereo=0;sprop-stereo=0\r\n", f.Type, f.Type)
			continue
		}
		fmt.Fprintf(b, "a=rtpmap:%d %s/%d\r\n", f.Type, f.Name, f.Clock)
	}
	for _, d := range digits {
		fmt.Fprintf(b, "a=rtpmap:%d telephone-event/8000\r\na=fmtp:%d 0-15\r\n", d, d)
	}
	b.WriteString("a=ptime:20\r\n")
}
