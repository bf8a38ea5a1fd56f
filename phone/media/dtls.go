package media

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/logging"
	"github.com/pion/transport/v4/deadline"
)

const (
	// handshakeTime is how long keys may take to come; no caller waits longer in silence.
	handshakeTime = 10 * time.Second
	// datagrams bounds the queue of DTLS datagrams; more are dropped, DTLS sends them again.
	datagrams = 32
)

// profiles are the SRTP profiles that are agreed on by DTLS, best first.
var profiles = []dtls.SRTPProtectionProfile{dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80}

// NewCertificate makes a self-signed certificate for DTLS, valid a year from a day before now. The key is ECDSA P-256.
func NewCertificate(now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("media: make certificate: %v", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("media: make certificate: %v", err)
	}
	template := x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "phone"},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(365 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("media: make certificate: %v", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// LocalFingerprint returns what stands in our a=fingerprint, or the zero value where there is no certificate.
func (s *Session) LocalFingerprint() Fingerprint {
	if s.config.Certificate == nil {
		return Fingerprint{}
	}
	sum := sha256.Sum256(s.config.Certificate.Certificate[0])
	return Fingerprint{Hash: "sha-256", Sum: sum[:]}
}

// beginDTLS starts the handshake; s.mu is held.
func (s *Session) beginDTLS(ctx context.Context, run func(func())) {
	conn := &datagramConn{session: s, in: make(chan []byte, datagrams), shut: make(chan struct{}), read: deadline.New()}
	s.dtlsConn = conn
	security := s.agreement.Security
	run(func() {
		defer conn.Close()
		association, err := s.shake(ctx, conn, security)
		if err != nil {
			s.end(err)
			return
		}
		// The keys are out; what remains of the association is not used, but its end would be seen by the other one.
		<-ctx.Done()
		conn.mute.Store(true)
		association.Close()
	})
}

// shake does the handshake and puts the keys in place.
func (s *Session) shake(ctx context.Context, conn *datagramConn, security Security) (*dtls.Conn, error) {
	silent := logging.NewDefaultLoggerFactory()
	silent.DefaultLogLevel = logging.LogLevelDisabled
	silent.ScopeLevels = nil
	options := []dtls.Option{
		dtls.WithCertificates(*s.config.Certificate),
		dtls.WithCipherSuites(dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, dtls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			dtls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, dtls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
		dtls.WithSRTPProtectionProfiles(profiles...),
		dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret),
		dtls.WithFlightInterval(200 * time.Millisecond),
		dtls.WithMTU(1200),
		dtls.WithLoggerFactory(silent),
		dtls.WithInsecureSkipVerify(true), // no chain: the fingerprint is what counts
		dtls.WithVerifyPeerCertificate(func(raw [][]byte, _ [][]*x509.Certificate) error {
			return security.verify(raw)
		}),
	}
	var association *dtls.Conn
	var err error
	if security.Active {
		var client []dtls.ClientOption
		for _, o := range options {
			client = append(client, o)
		}
		association, err = dtls.ClientWithOptions(conn, conn.LocalAddr(), client...)
	} else {
		server := []dtls.ServerOption{dtls.WithClientAuth(dtls.RequireAnyClientCert)}
		for _, o := range options {
			server = append(server, o)
		}
		association, err = dtls.ServerWithOptions(conn, conn.LocalAddr(), server...)
	}
	if err != nil {
		return nil, fmt.Errorf("media: begin DTLS: %v", err)
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	if err := association.HandshakeContext(ctx); err != nil {
		association.Close()
		return nil, fmt.Errorf("media: DTLS handshake: %v", err)
	}
	if err := s.takeKeys(association, security); err != nil {
		association.Close()
		return nil, err
	}
	return association, nil
}

// verify holds the other end's certificate against the fingerprints of its SDP.
func (s *Security) verify(raw [][]byte) error {
	if len(raw) > 0 {
		for _, f := range s.Fingerprints {
			if f.matches(raw[0]) {
				return nil
			}
		}
	}
	return errors.New("media: certificate does not match the fingerprint")
}

// takeKeys exports the SRTP keys (RFC 5764, Section 4.2) and lets sound flow.
func (s *Session) takeKeys(association *dtls.Conn, security Security) error {
	state, ok := association.ConnectionState()
	selected, chosen := association.SelectedSRTPProtectionProfile()
	if !ok || !chosen {
		return errors.New("media: DTLS without an SRTP profile")
	}
	// Asked again: verification must not hang on a callback having been called.
	if err := security.verify(state.PeerCertificates); err != nil {
		return err
	}
	profile := AES128CM
	switch selected {
	case dtls.SRTP_AEAD_AES_256_GCM:
		profile = AES256GCM
	case dtls.SRTP_AEAD_AES_128_GCM:
		profile = AES128GCM
	case dtls.SRTP_AES128_CM_HMAC_SHA1_80:
	default:
		return errors.New("media: DTLS with an unknown SRTP profile")
	}
	_, key, salt, _, _ := profile.pion()
	material, err := state.ExportKeyingMaterial("EXTRACTOR-dtls_srtp", nil, 2*(key+salt))
	if err != nil {
		return fmt.Errorf("media: export keys: %v", err)
	}
	defer clear(material)
	client := Key{Profile: profile, secret: append(append([]byte(nil), material[:key]...), material[2*key:2*key+salt]...)}
	server := Key{Profile: profile, secret: append(append([]byte(nil), material[key:2*key]...), material[2*key+salt:]...)}
	if !security.Active {
		client, server = server, client
	}
	sending, err := client.context()
	if err != nil {
		return err
	}
	receiving, err := server.context()
	if err != nil {
		return err
	}
	clear(client.secret)
	clear(server.secret)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dtlsProfile, s.sending.keys, s.receiving.keys = profile, sending, receiving
	close(s.ready)
	return nil
}

// handleDTLS takes a datagram of the handshake; s.mu is held. Anybody may send one, and the fingerprint alone decides, but
// only the other end's addresses are listened to.
func (s *Session) handleDTLS(from netip.AddrPort, b []byte) {
	if s.dtlsConn == nil {
		s.drop(&s.stats.Malformed)
		return
	}
	if from != s.path.signalled && !s.path.near(from.Addr()) {
		s.drop(&s.stats.Foreign)
		return
	}
	if s.sending.keys == nil {
		s.path.remote = from // behind a NAT it is not what its SDP says
	}
	select {
	case s.dtlsConn.in <- append([]byte(nil), b...):
	default:
		s.stats.Dropped++
	}
}

// datagramConn shows a DTLS association its datagrams, which share the socket with RTP, as a net.PacketConn.
type datagramConn struct {
	session *Session
	in      chan []byte
	read    *deadline.Deadline
	mute    atomic.Bool // nothing is sent any more
	shut    chan struct{}
	once    sync.Once
}

func (c *datagramConn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case d := <-c.in:
		return copy(b, d), c.LocalAddr(), nil
	case <-c.read.Done():
		return 0, nil, context.DeadlineExceeded
	case <-c.shut:
		return 0, nil, net.ErrClosed
	}
}

func (c *datagramConn) WriteTo(b []byte, _ net.Addr) (int, error) {
	if !c.mute.Load() {
		c.session.mu.Lock()
		to := c.session.path.remote
		c.session.mu.Unlock()
		c.session.write(b, to)
	}
	return len(b), nil
}

func (c *datagramConn) Close() error {
	c.once.Do(func() { close(c.shut) })
	return nil
}

func (c *datagramConn) LocalAddr() net.Addr                { return &net.UDPAddr{IP: net.IPv4zero} }
func (c *datagramConn) SetDeadline(t time.Time) error      { return c.SetReadDeadline(t) }
func (c *datagramConn) SetReadDeadline(t time.Time) error  { c.read.Set(t); return nil }
func (c *datagramConn) SetWriteDeadline(_ time.Time) error { return nil }
