//go:build !js

// Package media is the native client's end of the media path: ICE (the controlling side, towards an ICE-lite server),
// DTLS as client with both fingerprints checked, and SRTP both ways. It carries payloads that package endpoint's owner has
// sealed; it seals no frames, decodes nothing, and knows the room by its slots alone (package slot).
//
// The headless client, the load generator and the benchmarks use it; a transport costs three goroutines while it connects
// and one afterwards. In the browser the same part is played by RTCPeerConnection.
package media

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"conclave/sfu/datagram"
	"conclave/sfu/slot"
	"conclave/sfu/srtp"
)

// The errors a caller branches on.
var (
	ErrClosed      = errors.New("media: closed")
	ErrUnreachable = errors.New("media: no candidate of the server answers")
	ErrFingerprint = errors.New("media: server shows another certificate than announced")
	ErrConsent     = errors.New("media: server does not answer any more")
	ErrStream      = errors.New("media: no such stream")
	ErrSize        = errors.New("media: payload too long for one packet")
)

const (
	// MaxPayload is the longest RTP payload that is sent: with headers and tag a packet stays within 1280 bytes of IPv6.
	MaxPayload = 1180

	defaultOpus = 111
	defaultVP8  = 96
	maxDatagram = 1500
	rtpHeader   = 12
)

// Config is what a transport is to be. Callbacks run in the transport's reading goroutine: they must not block, nor call
// Close.
type Config struct {
	Microphone, Camera, Screen bool             // what may be sent
	Opus, VP8                  uint8            // payload type numbers; default 111 and 96
	Certificate                *tls.Certificate // by default a fresh one; a load generator shares one
	Packet                     func(Packet)     // every packet of a slot that opened; may be nil
	KeyFrame                   func(slot.Kind)  // the server wants a key frame; may be nil
	Foreign                    bool             // take packets of SSRCs that are no slots too: servers of other makes, in benchmarks
	Socket                     Socket           // instead of a UDP socket of its own; the owner hands in what it receives by Deliver
}

// Socket is a datagram socket that somebody else reads: one of many that a load generator polls. The transport closes it.
type Socket interface {
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
	Close() error
}

// Packet is a received RTP packet.
type Packet struct {
	Slot      slot.Slot // zero for a foreign SSRC
	SSRC      uint32
	Index     uint64 // sequence number with its rollovers
	Timestamp uint32
	Marker    bool
	Payload   []byte // without padding; valid during the call only
}

// Local is this end, for signalling.
type Local struct {
	Ufrag, Password            string
	Fingerprint                [sha256.Size]byte
	Microphone, Camera, Screen uint32 // SSRCs; 0: never sent
	Opus, VP8                  uint8
}

// Remote is the server's end, from signalling.
type Remote struct {
	Ufrag, Password string
	Fingerprint     [sha256.Size]byte
	Candidates      []netip.AddrPort // the first 16 are tried, all at once
}

// Stats are a transport's counts.
type Stats struct {
	Sent, Received uint64 // RTP packets
	Lost           uint64 // by gaps in received sequence numbers, late ones not taken back
	Bad            uint64 // datagrams that do not open or belong nowhere
	RTT            time.Duration
}

// Transport is one media path to one server.
type Transport struct {
	config      Config
	local       Local
	certificate tls.Certificate
	conn        Socket
	udp         *net.UDPConn // conn, unless it is the owner's

	ice       ice
	datagrams chan []byte // of the handshake, from the reading goroutine
	dtls      *datagram.Conn
	in        inbound // the reading goroutine's
	stat      struct{ sent, received, lost, bad, rtt atomic.Uint64 }

	mu      sync.Mutex // guards all below
	sealer  *srtp.Sealer
	out     [slot.Kinds]outbound
	buffer  []byte
	ticking *time.Timer
	err     error

	readers   sync.WaitGroup
	started   atomic.Bool
	reading   atomic.Bool
	opener    atomic.Pointer[srtp.Opener]
	closeOnce sync.Once
	done      chan struct{}
}

// outbound is one stream that is sent.
type outbound struct {
	ssrc        uint32
	payloadType uint8
	index       uint64
	base        uint32 // of timestamps
	ts          uint32 // last sent
	at          time.Time
	packets     uint32
	octets      uint32
	ring        []sent // video: what can be sent again, by index modulo its length
}

type sent struct {
	index  uint64
	header [rtpHeader]byte
	bytes  []byte
}

const ringSize = 256

// New opens a socket and draws credentials. Close gives it all back.
func New(config Config) (*Transport, error) {
	if config.Opus == 0 {
		config.Opus = defaultOpus
	}
	if config.VP8 == 0 {
		config.VP8 = defaultVP8
	}
	t := &Transport{config: config, done: make(chan struct{}), buffer: make([]byte, 0, maxDatagram)}
	if config.Certificate != nil {
		t.certificate = *config.Certificate
	} else {
		var err error
		if t.certificate, err = NewCertificate(); err != nil {
			return nil, err
		}
	}
	var random [6 + 18 + 3*12]byte
	rand.Read(random[:])
	t.local = Local{
		Ufrag:       base64.RawStdEncoding.EncodeToString(random[:6]),
		Password:    base64.RawStdEncoding.EncodeToString(random[6:24]),
		Fingerprint: sha256.Sum256(t.certificate.Certificate[0]),
		Opus:        config.Opus,
		VP8:         config.VP8,
	}
	wanted := [...]bool{config.Microphone, config.Camera, config.Screen}
	ssrcs := [...]*uint32{&t.local.Microphone, &t.local.Camera, &t.local.Screen}
	for i := range t.out {
		r := random[24+12*i:]
		if !wanted[i] {
			continue
		}
		o := &t.out[i]
		// Two low bits keep a leg's streams apart; the slots' own numbers begin with 0x0C.
		o.ssrc = 0x40000000 | binary.BigEndian.Uint32(r)&0x3ffffffc | uint32(i+1)
		o.index = uint64(binary.BigEndian.Uint16(r[4:]) & 0x7fff)
		o.base = binary.BigEndian.Uint32(r[8:])
		o.payloadType = config.Opus
		if slot.Kind(i + 1).Video() {
			o.payloadType = config.VP8
			o.ring = make([]sent, ringSize)
		}
		*ssrcs[i] = o.ssrc
	}
	t.datagrams = make(chan []byte, datagramQueue)
	t.dtls = datagram.New(t.datagrams, t.done, t.sendDatagram)
	t.in.streams = make(map[uint32]*receiving)
	if t.conn = config.Socket; t.conn != nil {
		return t, nil
	}
	conn, err := net.ListenUDP("udp", nil)
	if err != nil {
		return nil, fmt.Errorf("media: open socket: %w", err)
	}
	// Best effort: a key frame and a room's audio come in bursts.
	conn.SetReadBuffer(1 << 20)
	t.conn, t.udp = conn, conn
	return t, nil
}

// NewCertificate makes a self-signed P-256 certificate, known by its fingerprint alone.
func NewCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("media: make key: %v", err)
	}
	now := time.Now()
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-24 * time.Hour), NotAfter: now.AddDate(0, 1, 0)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("media: make certificate: %v", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// Local returns this end's parameters.
func (t *Transport) Local() Local { return t.local }

// Done is closed when the transport has ended, by Close or by itself; Err says why.
func (t *Transport) Done() <-chan struct{} { return t.done }

// Err returns why the transport has ended: nil while it lives, ErrClosed after Close.
func (t *Transport) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// Stats returns the counts so far.
func (t *Transport) Stats() Stats {
	return Stats{
		Sent: t.stat.sent.Load(), Received: t.stat.received.Load(), Lost: t.stat.lost.Load(), Bad: t.stat.bad.Load(),
		RTT: time.Duration(t.stat.rtt.Load()),
	}
}

// Connect finds the server, shakes hands and returns when media can flow. It may be called once. If it fails, the
// transport is closed.
func (t *Transport) Connect(ctx context.Context, remote Remote) (err error) {
	if !t.started.CompareAndSwap(false, true) {
		return ErrClosed
	}
	defer func() {
		if err != nil {
			t.fail(err)
		}
	}()
	if len(remote.Candidates) == 0 {
		return ErrUnreachable
	}
	t.ice.init(t.local.Ufrag, remote)
	t.reading.Store(true)
	if t.udp != nil {
		t.readers.Go(t.read)
	}
	if err := t.findServer(ctx); err != nil {
		return err
	}
	opener, sealer, err := t.handshake(ctx, &remote.Fingerprint)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return t.err
	}
	t.sealer = sealer
	t.opener.Store(opener)
	t.ticking = time.AfterFunc(tick, t.tick)
	return nil
}

// Close ends the transport and waits for its goroutines.
func (t *Transport) Close() error {
	t.fail(ErrClosed)
	t.readers.Wait()
	return nil
}

// fail ends the transport for a reason.
func (t *Transport) fail(err error) {
	t.closeOnce.Do(func() {
		t.mu.Lock()
		t.err = err
		if t.ticking != nil {
			t.ticking.Stop()
		}
		t.mu.Unlock()
		close(t.done)
		t.conn.Close()
	})
}

// Send sends one RTP packet. timestamp is in the stream's clock (48 000 or 90 000 a second) from any origin; the payload
// is not kept.
func (t *Transport) Send(kind slot.Kind, payload []byte, timestamp uint32, marker bool) error {
	if kind < slot.Microphone || kind > slot.Screen {
		return ErrStream
	}
	if len(payload) > MaxPayload {
		return ErrSize
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	o := &t.out[kind-1]
	switch {
	case t.err != nil:
		return t.err
	case o.ssrc == 0:
		return ErrStream
	case t.sealer == nil:
		return nil // not connected yet: as if lost on the way
	}
	var header [rtpHeader]byte
	header[0], header[1] = 0x80, o.payloadType
	if marker {
		header[1] |= 0x80
	}
	o.ts, o.at = timestamp+o.base, time.Now()
	binary.BigEndian.PutUint16(header[2:], uint16(o.index))
	binary.BigEndian.PutUint32(header[4:], o.ts)
	binary.BigEndian.PutUint32(header[8:], o.ssrc)
	if o.ring != nil {
		s := &o.ring[o.index%ringSize]
		s.index, s.header = o.index, header
		s.bytes = append(s.bytes[:0], payload...)
	}
	index := o.index
	o.index++
	o.packets++
	o.octets += uint32(len(payload))
	t.stat.sent.Add(1)
	return t.write(&header, payload, o.ssrc, index)
}

// write seals and sends. mu is held.
func (t *Transport) write(header *[rtpHeader]byte, payload []byte, ssrc uint32, index uint64) error {
	t.buffer = t.sealer.SealRTP(t.buffer[:0], header[:], payload, ssrc, index)
	_, err := t.conn.WriteToUDPAddrPort(t.buffer, t.ice.server())
	if err != nil && t.err == nil && errors.Is(err, net.ErrClosed) {
		return ErrClosed
	}
	return nil // a full buffer or an unreachable moment is loss, and consent tells when it lasts
}

// again sends a video packet once more.
func (t *Transport) again(ssrc uint32, seq uint16) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.out {
		o := &t.out[i]
		if o.ssrc != ssrc || o.ring == nil || o.index == 0 {
			continue
		}
		index := srtp.Guess(o.index-1, true, seq)
		if s := &o.ring[index%ringSize]; index < o.index && s.index == index && s.bytes != nil {
			t.write(&s.header, s.bytes, ssrc, index)
		}
	}
}
