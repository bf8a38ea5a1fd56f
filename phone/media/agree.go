package media

import (
	"fmt"
	"net/netip"
	"slices"

	"conclave/phone/codec"
	"conclave/phone/jitter"
)

// check says whether an agreement can be kept.
func (a *Agreement) check() error {
	if a.Codec < codec.PCMU || a.Codec > codec.Opus || a.PayloadType > 127 {
		return fmt.Errorf("%w: codec", ErrAgreement)
	}
	if slices.Contains(a.DigitTypes, a.PayloadType) || len(a.DigitTypes) > 8 {
		return fmt.Errorf("%w: payload types of digits", ErrAgreement)
	}
	s := &a.Security
	switch s.Keying {
	case Clear:
	case SDES:
		_, _, _, _, ok := s.Sending.Profile.pion()
		if !ok || s.Sending.Profile != s.Receiving.Profile || len(s.Sending.secret) == 0 || len(s.Receiving.secret) == 0 {
			return fmt.Errorf("%w: keys", ErrAgreement)
		}
		if s.Sending.equal(s.Receiving) { // both directions under one key and perhaps one SSRC: a two-time pad
			return fmt.Errorf("%w: our own key sent back", ErrAgreement)
		}
	case DTLS:
		if len(s.Fingerprints) == 0 || len(s.Fingerprints) > 8 {
			return fmt.Errorf("%w: fingerprints", ErrAgreement)
		}
	default:
		return fmt.Errorf("%w: keying", ErrAgreement)
	}
	return nil
}

// allows says whether n may follow s in a running call.
func (s *Security) allows(n Security) error {
	switch {
	case s.Keying == Clear && n.Keying == Clear:
		return nil
	case n.Keying == Clear:
		return ErrWeaker
	case s.Keying != n.Keying:
		return fmt.Errorf("%w: another way of keying", ErrAgreement)
	case s.Keying == SDES:
		_, _, _, before, _ := s.Sending.Profile.pion()
		_, _, _, after, _ := n.Sending.Profile.pion()
		if after < before {
			return ErrWeaker
		}
		return nil
	}
	same := func(a, b Fingerprint) bool { return a.String() == b.String() }
	if s.Active != n.Active || !slices.EqualFunc(s.Fingerprints, n.Fingerprints, same) {
		return fmt.Errorf("%w: another DTLS association", ErrAgreement)
	}
	return nil
}

// agree puts a in force; s.mu is held. After an error nothing has changed.
func (s *Session) agree(a Agreement) error {
	if err := a.check(); err != nil {
		return err
	}
	if a.Security.Keying == DTLS && s.config.Certificate == nil {
		return fmt.Errorf("%w: no certificate for DTLS", ErrAgreement)
	}
	encoder, decoder := s.sending.encoder, s.receiving.decoder
	anew := !s.started || a.Codec != s.agreement.Codec
	if anew {
		var err error
		if decoder, err = codec.NewDecoder(a.Codec); err == nil {
			encoder, err = codec.NewEncoder(a.Codec)
		}
		if err != nil {
			return fmt.Errorf("%w: %v", ErrAgreement, err)
		}
	}
	sendKeys, receiveKeys := s.sending.keys, s.receiving.keys
	if k := a.Security; k.Keying == SDES {
		var err error
		// The same key goes on with the same context: begun anew, its roll-over counter and replay window would be lost.
		if sendKeys == nil || !k.Sending.equal(s.agreement.Security.Sending) {
			sendKeys, err = k.Sending.context()
		}
		if err == nil && (receiveKeys == nil || !k.Receiving.equal(s.agreement.Security.Receiving)) {
			receiveKeys, err = k.Receiving.context()
		}
		if err != nil {
			if anew {
				encoder.Close()
			}
			return fmt.Errorf("%w: %v", ErrAgreement, err)
		}
	}
	if anew {
		s.sending.close()
		s.sending.encoder, s.receiving.decoder = encoder, decoder
		s.receiving.buffer = jitter.New(a.Codec.ClockRate())
		s.receiving.begin()
	}
	s.sending.keys, s.receiving.keys = sendKeys, receiveKeys
	a.DigitTypes, a.Security.Fingerprints = slices.Clone(a.DigitTypes), slices.Clone(a.Security.Fingerprints)
	a.Remote, a.Peer = unmap(a.Remote), a.Peer.Unmap()
	if a.Remote != s.agreement.Remote || a.Peer != s.agreement.Peer || !s.started {
		s.path = path{signalled: a.Remote, peer: a.Peer, remote: a.Remote}
	}
	s.agreement = a
	return nil
}

// unmap turns an IPv4 address in IPv6 form into itself, and one that cannot be sent to into none.
func unmap(a netip.AddrPort) netip.AddrPort {
	ip := a.Addr().Unmap()
	if !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() || a.Port() == 0 {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ip, a.Port())
}

// secured is Secured; s.mu is held.
func (s *Session) secured() Secured {
	k := &s.agreement.Security
	switch {
	case !s.started || k.Keying == Clear:
		return Secured{Ready: s.started}
	case k.Keying == SDES:
		return Secured{SDES, string(k.Sending.Profile), true}
	}
	return Secured{DTLS, string(s.dtlsProfile), s.sending.keys != nil}
}
