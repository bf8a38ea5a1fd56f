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
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/logging"

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
	conn.Mute() // no close_notify: the keys live on
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

// datagramQueue is what may wait for the handshake; the peer sends again what finds no place.
const datagramQueue = 16

// push takes a copy of a received datagram of the handshake; it is dropped when the queue is full.
func (t *Transport) push(b []byte) {
	select {
	case <-t.dtls.Closed():
		return
	default:
	}
	select {
	case t.datagrams <- append([]byte(nil), b...):
	default:
		t.stat.bad.Add(1)
	}
}

// sendDatagram sends a flight of the handshake to the server, wherever that is.
func (t *Transport) sendDatagram(b []byte) error {
	if _, err := t.conn.WriteToUDPAddrPort(b, t.ice.server()); errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
