// Package media is the media of one phone call: RTP over UDP, plain, with keys from the SDP (SDES) or with DTLS-SRTP; the
// jitter buffer, the codecs, the digits. It is for the gateway, which knows the call. It does no SIP, parses no SDP, and
// decides nothing about a line: it says how the packets were protected.
//
// The life of a session: New binds ports and makes keys, so that an offer or answer can be written; Start begins when both
// are known; Play speaks to the caller and Digits hears the caller's keys; Bridge(true) joins the call to a room, and only
// from then on does anything pass between In, Out and the caller; Close ends all and waits.
//
// Sources: RFC 3550 (RTP), RFC 3551, RFC 3711, RFC 4568 (SDES), RFC 4733 (digits), RFC 5761, RFC 5764 and RFC 7983
// (DTLS-SRTP), RFC 7627 (extended master secret), RFC 7714 (AES-GCM).
package media

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"conclave/phone/codec"
	"conclave/phone/jitter"
)

var (
	// ErrPorts is returned by New when no pair of ports of the range is free: the gateway is full.
	ErrPorts = errors.New("media: no free port")
	// ErrWeaker is returned by Change for what would protect the packets less than before: answer 488.
	ErrWeaker = errors.New("media: weaker protection than before")
	// ErrAgreement is wrapped by what Start and Change say of an agreement that cannot be kept: answer 488.
	ErrAgreement = errors.New("media: unusable agreement")
	// ErrReplaced is returned by Play when another sound took its place.
	ErrReplaced = errors.New("media: replaced by another sound")
	// ErrClosed is returned by what waits on a session that is closed.
	ErrClosed = errors.New("media: session is closed")
)

// queueFrames bounds the queues between the call and the room: 200 ms. What is older is of no use to anybody.
const queueFrames = 10

// Session is the media of one call. Its methods may be called by any goroutine.
type Session struct {
	config Config
	rtp    *net.UDPConn
	rtcp   *net.UDPConn
	ssrc   uint32

	in     chan *Frame // to the room; full: the oldest is dropped
	out    chan *Frame // from the room; full: the oldest is dropped
	digits chan Digit  // full: the new one is dropped, nobody types 32 keys ahead
	ready  chan struct{}
	ended  chan struct{} // closed when the session is of no use any more

	quit     context.CancelFunc // non-nil from Start on
	running  sync.WaitGroup
	closing  sync.Once
	endOnce  sync.Once
	endError error // written before ended is closed

	mu        sync.Mutex // guards what follows
	keys      map[Profile]Key
	agreement Agreement
	started   bool
	closed    bool
	bridged   bool
	playing   *playing
	path      path
	receiving receiving
	sending   sending
	rtcpState reports
	stats     Stats

	dtlsConn    *datagramConn // nil without DTLS
	dtlsProfile Profile
}

// playing is one sound on its way to the caller.
type playing struct {
	source Source
	done   chan error // of one place: nobody has to wait for it
}

// New binds the ports of a call and makes what the SDP needs. Close frees them, also when Start never came.
func New(c Config) (*Session, error) {
	if !c.Local.IsValid() || c.Rand == nil || c.Now == nil || c.Log == nil {
		return nil, errors.New("media: incomplete configuration")
	}
	rtp, rtcp, err := bind(c.Local, c.Ports, c.Rand)
	if err != nil {
		return nil, err
	}
	s := &Session{
		config: c, rtp: rtp, rtcp: rtcp,
		in: make(chan *Frame, queueFrames), out: make(chan *Frame, queueFrames),
		digits: make(chan Digit, 32), ready: make(chan struct{}), ended: make(chan struct{}),
		keys: make(map[Profile]Key),
	}
	var seed [10]byte
	if _, err := io.ReadFull(c.Rand, seed[:]); err != nil {
		s.Close()
		return nil, fmt.Errorf("media: choose SSRC: %v", err)
	}
	s.ssrc = binary.BigEndian.Uint32(seed[:])
	s.sending.sequence = binary.BigEndian.Uint16(seed[4:]) &^ 0x8000 // so that SRTP's roll-over counter begins at 0 for both ends
	s.sending.timestamp = binary.BigEndian.Uint32(seed[6:])
	s.receiving.buffer = jitter.New(8000)
	return s, nil
}

// LocalPort returns the port for m=. RTCP has the next one unless multiplexed.
func (s *Session) LocalPort() uint16 { return localPort(s.rtp) }

// LocalKey returns our key for a profile, the same one each time: its Crypto stands in our SDP, and it belongs into
// Security.Sending.
func (s *Session) LocalKey(p Profile) (Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k, ok := s.keys[p]; ok {
		return k, nil
	}
	k, err := newKey(p, s.config.Rand)
	if err == nil {
		s.keys[p] = k
	}
	return k, err
}

// Start begins to send and to listen. It does not wait for keys: Ready tells. What it starts ends with ctx or Close.
func (s *Session) Start(ctx context.Context, a Agreement) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.started {
		return ErrClosed
	}
	if err := s.agree(a); err != nil {
		return err
	}
	s.started = true
	ctx, s.quit = context.WithCancel(ctx)
	s.begin(ctx)
	return nil
}

// Change puts another agreement in force: hold and resume, another address or codec. It refuses one that would protect
// the packets less (ErrWeaker), and another DTLS association (ErrAgreement); the old agreement is then still in force.
func (s *Session) Change(a Agreement) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || !s.started {
		return ErrClosed
	}
	if err := s.agreement.Security.allows(a.Security); err != nil {
		return err
	}
	return s.agree(a)
}

// Ready is closed when sound can flow: at Start, or with DTLS when its keys are there.
func (s *Session) Ready() <-chan struct{} { return s.ready }

// Ended is closed when the session came to an end by itself: the DTLS handshake failed or the socket did, Err says why.
func (s *Session) Ended() <-chan struct{} { return s.ended }

// Err says why the session ended; nil while it has not.
func (s *Session) Err() error {
	select {
	case <-s.ended:
		return s.endError
	default:
		return nil
	}
}

func (s *Session) end(err error) {
	s.endOnce.Do(func() {
		s.endError = err
		close(s.ended)
	})
}

// Play speaks source to the caller and returns when it is out, when ctx ends (the sound stops within 20 ms), when another
// Play took its place, or when the session ends. While bridged, the room goes on, quieter, behind it.
func (s *Session) Play(ctx context.Context, source Source) error {
	p := &playing{source: source, done: make(chan error, 1)}
	s.mu.Lock()
	if s.closed || ctx.Err() != nil { // what was called off before its turn came replaces nothing
		err := ctx.Err()
		if s.closed {
			err = ErrClosed
		}
		s.mu.Unlock()
		return err
	}
	if s.playing != nil {
		s.playing.done <- ErrReplaced
	}
	s.playing = p
	s.mu.Unlock()
	select {
	case err := <-p.done:
		return err
	case <-s.ended:
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.playing == p {
		s.playing = nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return ErrClosed
}

// Digits gives the keys that the caller presses, each once, when it goes down. It is never closed.
func (s *Session) Digits() <-chan Digit { return s.digits }

// ForgetDigits throws away what was typed and not yet read.
func (s *Session) ForgetDigits() {
	for {
		select {
		case <-s.digits:
		default:
			return
		}
	}
}

// In gives what the caller says, one frame each 20 ms, silence too, as long as the session is bridged. Whoever receives a
// frame owns it. It is never closed.
func (s *Session) In() <-chan *Frame { return s.in }

// Out sends a frame of the room's sound to the caller; it takes f over. It never blocks. Before the session is bridged,
// and while the caller is on hold, f is dropped.
func (s *Session) Out(f *Frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bridged && !s.closed {
		push(s.out, f)
	}
}

// Bridge opens or shuts the way between caller and room, both directions at once. Both ways begin empty: what was said
// before is gone.
func (s *Session) Bridge(open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bridged = open
	s.drain()
}

// Drain throws away all sound that is on its way between caller and room, in both directions.
func (s *Session) Drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drain()
}

func (s *Session) drain() {
	for _, queue := range []chan *Frame{s.in, s.out} {
		for len(queue) > 0 {
			select {
			case <-queue:
			default:
			}
		}
	}
	r := &s.receiving
	r.drain()
	r.deaf = s.config.Now().Add(settle)
	// A decoder remembers what it heard last, to conceal with.
	if r.decoder != nil {
		if d, err := codec.NewDecoder(s.agreement.Codec); err == nil {
			r.decoder = d
		}
	}
}

// push puts f into queue, in place of the oldest where it is full.
func push(queue chan *Frame, f *Frame) {
	for {
		select {
		case queue <- f:
			return
		default:
		}
		select {
		case <-queue:
		default:
		}
	}
}

// Secured says how the packets are protected.
func (s *Session) Secured() Secured {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.secured()
}

// Codec returns the codec in use.
func (s *Session) Codec() codec.Codec {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.agreement.Codec
}

// Stats returns what was counted so far.
func (s *Session) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snapshot()
}

// Close ends everything, waits for it, frees the ports and wipes the keys.
func (s *Session) Close() {
	s.closing.Do(func() {
		s.mu.Lock()
		s.closed = true
		if s.quit != nil {
			s.quit()
		}
		s.mu.Unlock()
		s.end(ErrClosed)
		s.rtp.Close()
		s.rtcp.Close()
		s.running.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.drain()
		s.sending.close()
		for _, k := range s.keys {
			clear(k.secret)
		}
	})
	s.running.Wait()
}
