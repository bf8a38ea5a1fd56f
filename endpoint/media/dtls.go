//go:build !js

package media

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/logging"
	"github.com/pion/transport/v4/deadline"

	"conclave/sfu/srtp"
)

const handshakeTimeout = 8 * time.Second

var silent = &logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled}

// handshake is the DTLS client's side (RFC 5763: the server is always passive). The association is dropped as soon as its
// keys are out: the client's side is done last and owes no retransmission.
func (t *Transport) handshake(ctx context.Context, want *[sha256.Size]byte) (*srtp.Opener, *srtp.Sealer, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	conn := t.dtls
	defer conn.Close()
	check := func(raw [][]byte) error {
		if len(raw) == 0 {
			return ErrFingerprint
		}
		got := sha256.Sum256(raw[0])
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			return ErrFingerprint
		}
		return nil
	}
	association, err := dtls.ClientWithOptions(conn, conn.LocalAddr(),
		dtls.WithCertificates(t.certificate),
		dtls.WithCipherSuites(dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, dtls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM),
		dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret),
		dtls.WithInsecureSkipVerify(true), // no chain: the fingerprint below is what counts
		dtls.WithVerifyPeerCertificate(func(raw [][]byte, _ [][]*x509.Certificate) error { return check(raw) }),
		dtls.WithFlightInterval(200*time.Millisecond),
		dtls.WithMTU(1200),
		dtls.WithLoggerFactory(silent),
	)
	if err != nil {
		return nil, nil, fmt.Errorf("media: DTLS: %v", err)
	}
	defer association.Close()
	if err := association.HandshakeContext(ctx); err != nil {
		if errors.Is(err, ErrFingerprint) {
			return nil, nil, ErrFingerprint
		}
		return nil, nil, fmt.Errorf("media: DTLS handshake: %w", err)
	}
	conn.mute.Store(true) // no close_notify: the keys live on
	state, ok := association.ConnectionState()
	if !ok {
		return nil, nil, fmt.Errorf("media: DTLS handshake without a state")
	}
	if err := check(state.PeerCertificates); err != nil {
		return nil, nil, err
	}
	profile, ok := association.SelectedSRTPProtectionProfile()
	if !ok {
		return nil, nil, srtp.ErrProfile
	}
	client, server, err := srtp.Keys(srtp.Profile(profile), &state)
	if err != nil {
		return nil, nil, err
	}
	defer client.Wipe()
	defer server.Wipe()
	opener, err := srtp.NewOpener(server)
	if err != nil {
		return nil, nil, err
	}
	sealer, err := srtp.NewSealer(client)
	if err != nil {
		return nil, nil, err
	}
	return opener, sealer, nil
}

// packetConn is what pion/dtls sees of the transport.
type packetConn struct {
	t         *Transport
	datagrams chan []byte // from the reading goroutine; dropped when full
	read      *deadline.Deadline
	mute      atomic.Bool
	shut      chan struct{}
	once      sync.Once
}

func newPacketConn(t *Transport) *packetConn {
	return &packetConn{t: t, datagrams: make(chan []byte, 16), read: deadline.New(), shut: make(chan struct{})}
}

// push takes a copy of a received datagram.
func (c *packetConn) push(b []byte) {
	select {
	case <-c.shut:
		return
	default:
	}
	select {
	case c.datagrams <- append([]byte(nil), b...):
	default:
		c.t.stat.bad.Add(1)
	}
}

// ReadFrom implements net.PacketConn.
func (c *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case d := <-c.datagrams:
		return copy(b, d), c.LocalAddr(), nil
	case <-c.read.Done():
		return 0, nil, context.DeadlineExceeded
	case <-c.shut:
	case <-c.t.done:
	}
	return 0, nil, net.ErrClosed
}

// WriteTo implements net.PacketConn; it sends to the server wherever that is.
func (c *packetConn) WriteTo(b []byte, _ net.Addr) (int, error) {
	if !c.mute.Load() {
		if _, err := c.t.conn.WriteToUDPAddrPort(b, c.t.ice.server()); errors.Is(err, net.ErrClosed) {
			return 0, err
		}
	}
	return len(b), nil
}

// Close implements net.PacketConn.
func (c *packetConn) Close() error {
	c.once.Do(func() { close(c.shut) })
	return nil
}

// LocalAddr implements net.PacketConn; the address means nothing.
func (c *packetConn) LocalAddr() net.Addr { return &net.UDPAddr{IP: net.IPv4zero} }

// SetDeadline implements net.PacketConn.
func (c *packetConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline implements net.PacketConn.
func (c *packetConn) SetReadDeadline(t time.Time) error {
	c.read.Set(t)
	return nil
}

// SetWriteDeadline implements net.PacketConn; writing does not block.
func (c *packetConn) SetWriteDeadline(time.Time) error { return nil }
