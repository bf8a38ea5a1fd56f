package server_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"conclave"
	"conclave/admission"
	"conclave/endpoint"
	"conclave/endpoint/media"
	"conclave/identity"
	"conclave/server/servertest"
	"conclave/signal"
)

// pathPolicy asks at RESTRICTED what the default asks at CONFIDENTIAL: that sound comes from where the rest does.
func pathPolicy(t testing.TB) *admission.Policy {
	t.Helper()
	source := string(admission.DefaultPolicy())
	at := strings.Index(source, `@reason("media_elsewhere")`)
	if at < 0 {
		t.Fatal("the default policy asks for no path")
	}
	source = source[:at] + strings.Replace(source[at:], "CONFIDENTIAL", "RESTRICTED", 1)
	p, err := admission.Load([]byte(source), admission.DefaultLevels())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The addresses of this machine that a test can have, as if of two networks.
const (
	home      = "127.0.0.1"
	elsewhere = "127.0.0.2"
)

// nomad is a machine whose media come from where it is, and that keeps whatever transport it was ever given.
type nomad struct {
	keyRing
	t       testing.TB
	packets atomic.Int64 // that came, on any path

	mu      sync.Mutex
	sockets map[string]*net.UDPConn
	at      string
	latest  *media.Transport
	remote  media.Remote
	all     []*media.Transport
}

func newNomad(t testing.TB) *nomad {
	n := &nomad{t: t, at: home, sockets: map[string]*net.UDPConn{}}
	var reading sync.Mutex
	for _, at := range []string{home, elsewhere} {
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(at), 0)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		n.sockets[at] = c
		go func() {
			b := make([]byte, 1500)
			for {
				size, from, err := c.ReadFromUDPAddrPort(b)
				if err != nil {
					return
				}
				n.mu.Lock()
				latest := n.latest
				n.mu.Unlock()
				reading.Lock()
				if latest != nil {
					latest.Deliver(b[:size], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
				}
				reading.Unlock()
			}
		}()
	}
	return n
}

// move has all that the machine sends come from another address.
func (n *nomad) move(to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.at = to
}

// WriteToUDPAddrPort implements media.Socket.
func (n *nomad) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	n.mu.Lock()
	c := n.sockets[n.at]
	n.mu.Unlock()
	return c.WriteToUDPAddrPort(b, to)
}

func (n *nomad) Offer(_ context.Context, _ signal.SlotCounts, server signal.Server) (signal.Media, error) {
	t, err := media.New(media.Config{Microphone: true, Socket: open{n}, Packet: func(media.Packet) { n.packets.Add(1) }})
	if err != nil {
		return signal.Media{}, err
	}
	remote := media.Remote{Ufrag: server.Ufrag, Password: server.Password, Fingerprint: [32]byte(server.Fingerprint)}
	for _, c := range server.Candidates {
		remote.Candidates = append(remote.Candidates, netip.MustParseAddrPort(c))
	}
	n.mu.Lock()
	n.latest, n.remote, n.all = t, remote, append(n.all, t)
	n.mu.Unlock()
	l := t.Local()
	return signal.Media{Ufrag: l.Ufrag, Password: l.Password, Fingerprint: l.Fingerprint[:], Opus: l.Opus, VP8: l.VP8,
		SSRC: signal.Streams{Microphone: l.Microphone, Camera: l.Camera, Screen: l.Screen}}, nil
}

// open is the nomad's socket, which no transport closes.
type open struct{ *nomad }

func (open) Close() error { return nil }

func (n *nomad) Ready() {
	n.mu.Lock()
	t, remote := n.latest, n.remote
	n.mu.Unlock()
	go t.Connect(context.Background(), remote)
}

func (n *nomad) Close() {
	n.mu.Lock()
	all := n.all
	n.all = nil
	n.mu.Unlock()
	for _, t := range all {
		t.Close()
	}
}

// hears waits until more sound came.
func (n *nomad) hears() {
	n.t.Helper()
	from := n.packets.Load()
	wait(n.t, "sound", 20*time.Second, func() bool { return n.packets.Load() > from+5 })
}

// silent says how much came in half a second, after a moment for what was on its way.
func (n *nomad) silent() {
	n.t.Helper()
	time.Sleep(50 * time.Millisecond)
	from := n.packets.Load()
	time.Sleep(500 * time.Millisecond)
	if got := n.packets.Load() - from; got > 0 {
		n.t.Errorf("%d packets were forwarded to it", got)
	}
}

func TestSoundThatMovesElsewhereEndsAtOnceAndComesBackWithThePath(t *testing.T) {
	w := servertest.StartWith(t, servertest.Options{Policy: pathPolicy(t)})
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := w.OpenMeetingWith(identity.Meeting{Title: "Closed", Level: 2, Chair: "anna", People: []conclave.PersonID{"ben"}, Door: identity.DoorInvited})
	anna := newMeter(t, w, a, m, true, true)
	anna.until("anna in", anna.in.Load)
	path := newNomad(t)
	var line wire
	ben := (&guest{media: path}).come(t, w, b, "ben", m, &line).in()
	path.hears()

	// While its signalling is there.
	from := ben.count()
	path.move(elsewhere)
	from = ben.await("quarantine", from, reason("media_elsewhere"))
	path.silent()
	if _, key := path.now(); key != nil {
		t.Error("ben has keys in quarantine")
	}
	path.move(home)
	ben.Join(nil)
	from = ben.await("in again", from, state(endpoint.StateIn))
	path.hears()

	// While its signalling is gone, and with it the path that it had.
	line.cut()
	from = ben.await("reconnecting", from, state(endpoint.StateReconnecting))
	path.move(elsewhere)
	path.silent()
	before := path.packets.Load()
	line.mend()
	ben.await("quarantine", from, reason("media_elsewhere"))
	path.silent()
	t.Logf("%d packets went elsewhere", path.packets.Load()-before)
}
