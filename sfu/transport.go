package sfu

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/logging"

	"conclave/sfu/datagram"
	"conclave/sfu/rtp"
	"conclave/sfu/slot"
	"conclave/sfu/srtp"
	"conclave/sfu/udp"
)

const (
	handshakeTimeout = 5 * time.Second
	// The client may ask again for the last flight; after this the DTLS association is dropped: only its keys were wanted.
	handshakeLinger = 10 * time.Second
	handshakeTries  = 3
	// Addresses of one client that are known at a time: its interfaces, and the one it moves to.
	maxPaths = 8
)

var (
	errFingerprint = errors.New("sfu: certificate is not the announced one")
	errProfile     = errors.New("sfu: no SRTP profile in common")
)

// keys are a ready transport's, for the forwarder alone.
type keys struct {
	opener *srtp.Opener
	sealer *srtp.Sealer
}

// transport is one ICE, DTLS and SRTP association of a leg.
type transport struct {
	room        *Room
	leg         *leg
	user        string // "server ufrag:client ufrag"
	password    []byte
	fingerprint [sha256.Size]byte
	payloadType [slot.Kinds]uint8 // by kind-1

	open  atomic.Bool              // admitted and ready: media passes
	path  atomic.Pointer[udp.Path] // where to send; nil before the first authenticated STUN request
	keys  atomic.Pointer[keys]     // nil until DTLS is done
	heard atomic.Int64             // last authenticated packet, since SFU.began
	meter meter

	// The forwarder's, once keys are there.
	in      [slot.Kinds]inbound // by kind-1; ssrc and of are immutable
	streams []rtp.Numbering     // by seat number: what this leg is sent

	// The forwarder's and the handshake's.
	datagrams   chan []byte // DTLS, towards the handshake; dropped when full
	handshaking atomic.Bool
	tries       atomic.Int32
	done        chan struct{}
	once        sync.Once

	ice iceState // the ICE goroutine's
}

func newTransport(r *Room, l *leg, o Offer) *transport {
	t := &transport{
		room:        r,
		leg:         l,
		user:        l.credentials.Ufrag + ":" + o.Ufrag,
		password:    []byte(l.credentials.Password),
		fingerprint: o.Fingerprint,
		payloadType: [slot.Kinds]uint8{o.Opus, o.VP8, o.VP8},
		streams:     make([]rtp.Numbering, len(r.slots)),
		datagrams:   make(chan []byte, 16),
		done:        make(chan struct{}),
	}
	for i, ssrc := range [slot.Kinds]uint32{o.Microphone, o.Camera, o.Screen} {
		t.in[i].of, t.in[i].ssrc, t.in[i].kind = t, ssrc, slot.Kind(i+1)
	}
	t.heard.Store(int64(r.sfu.now()))
	return t
}

// close ends the transport. It may be called often, with the room's mutex held.
func (t *transport) close() {
	t.once.Do(func() {
		t.open.Store(false)
		t.release()
		close(t.done)
		known := make([]udp.Address, 0, maxPaths)
		t.ice.mu.Lock()
		t.ice.closed = true
		for _, p := range t.ice.paths {
			known = append(known, p.To)
		}
		t.ice.mu.Unlock()
		t.room.sfu.forget(t, known, true)
	})
}

func (t *transport) closed() bool {
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

// release takes the transport's streams out of their slots.
func (t *transport) release() {
	for i := range t.in {
		t.in[i].grant.Store(nil)
	}
}

// address is where the leg's packets come from.
func (t *transport) address() netip.AddrPort {
	if p := t.path.Load(); p != nil {
		return p.To.AddrPort()
	}
	return netip.AddrPort{}
}

// push hands a DTLS datagram to the handshake and starts it with the first one. The forwarder calls it; b is copied.
func (t *transport) push(b []byte) {
	s := t.room.sfu
	select {
	case t.datagrams <- append([]byte(nil), b...):
	default:
		s.stats.dtlsDropped.Add(1)
		return
	}
	if t.keys.Load() != nil || t.tries.Load() >= handshakeTries || !t.handshaking.CompareAndSwap(false, true) {
		return
	}
	if s.handshakes.Add(1) > int32(s.config.Handshakes) || t.closed() {
		s.handshakes.Add(-1)
		t.handshaking.Store(false)
		s.stats.dtlsDropped.Add(1)
		return
	}
	t.tries.Add(1)
	s.handshaker.Go(t.handshake)
}

// handshake is the DTLS server's side. It runs in its own goroutine and stays a while to answer retransmissions.
func (t *transport) handshake() {
	s := t.room.sfu
	conn := datagram.New(t.datagrams, t.done, t.sendDatagram)
	k, association, err := t.negotiate(conn)
	s.handshakes.Add(-1)
	if err != nil {
		conn.Close()
		if errors.Is(err, errFingerprint) {
			t.tries.Store(handshakeTries)
		}
		t.handshaking.Store(false)
		if t.tries.Load() >= handshakeTries && !t.closed() {
			t.room.failed(t, err)
		}
		return
	}
	t.heard.Store(int64(s.now()))
	t.keys.Store(k)
	t.room.ready(t)
	timer := time.NewTimer(handshakeLinger)
	defer timer.Stop()
	select {
	case <-timer.C:
		conn.Mute() // no close_notify: the session goes on
	case <-t.done:
	}
	association.Close()
}

var silent = &logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled}

// negotiate runs the handshake and takes the keys out.
func (t *transport) negotiate(conn *datagram.Conn) (*keys, *dtls.Conn, error) {
	s := t.room.sfu
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	association, err := dtls.ServerWithOptions(conn, conn.LocalAddr(),
		dtls.WithCertificates(s.certificate),
		dtls.WithCipherSuites(dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, dtls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM),
		dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret),
		dtls.WithClientAuth(dtls.RequireAnyClientCert),
		dtls.WithInsecureSkipVerifyHello(true), // ICE has proven the address
		dtls.WithFlightInterval(200*time.Millisecond),
		dtls.WithMTU(1200),
		dtls.WithLoggerFactory(silent),
		dtls.WithVerifyPeerCertificate(func(raw [][]byte, _ [][]*x509.Certificate) error {
			return checkFingerprint(raw, &t.fingerprint)
		}),
	)
	if err != nil {
		return nil, nil, err
	}
	if err := association.HandshakeContext(ctx); err != nil {
		association.Close()
		return nil, nil, err
	}
	k, err := extractKeys(association, &t.fingerprint)
	if err != nil {
		association.Close()
		return nil, nil, err
	}
	return k, association, nil
}

func checkFingerprint(raw [][]byte, want *[sha256.Size]byte) error {
	if len(raw) == 0 {
		return errFingerprint
	}
	got := sha256.Sum256(raw[0])
	if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
		return errFingerprint
	}
	return nil
}

// extractKeys makes the SRTP contexts of a finished handshake. It checks the certificate once more: a handshake that
// ended without asking our callback must not pass.
func extractKeys(association *dtls.Conn, want *[sha256.Size]byte) (*keys, error) {
	state, ok := association.ConnectionState()
	if !ok {
		return nil, errProfile
	}
	if err := checkFingerprint(state.PeerCertificates, want); err != nil {
		return nil, err
	}
	profile, ok := association.SelectedSRTPProtectionProfile()
	if !ok {
		return nil, errProfile
	}
	client, server, err := srtp.Keys(srtp.Profile(profile), &state)
	if err != nil {
		return nil, err
	}
	defer client.Wipe()
	defer server.Wipe()
	k := new(keys)
	if k.opener, err = srtp.NewOpener(client); err != nil {
		return nil, err
	}
	if k.sealer, err = srtp.NewSealer(server); err != nil {
		return nil, err
	}
	return k, nil
}

// sendDatagram sends a flight of the handshake to the client's current address.
func (t *transport) sendDatagram(b []byte) error {
	if p := t.path.Load(); p != nil {
		t.room.sfu.socket.Write(b, p)
	}
	return nil
}
