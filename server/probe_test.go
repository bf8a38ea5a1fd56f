package server_test

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"conclave"
	"conclave/endpoint/media"
	"conclave/pass"
	"conclave/server/servertest"
	"conclave/signal"
)

// probe asks that a way be tried, and returns where its end is waited for.
func (r *raw) probe(l media.Local) *signal.Probing {
	r.t.Helper()
	r.send(&signal.Probe{Ufrag: l.Ufrag, Fingerprint: l.Fingerprint[:]})
	return expect[*signal.Probing](r)
}

// way opens the other end.
func way(t *testing.T) *media.Transport {
	t.Helper()
	m, err := media.New(media.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// connectTo goes the way.
func connectTo(t *testing.T, m *media.Transport, s signal.Server) {
	t.Helper()
	remote := media.Remote{Ufrag: s.Ufrag, Password: s.Password, Fingerprint: [32]byte(s.Fingerprint)}
	for _, c := range s.Candidates {
		remote.Candidates = append(remote.Candidates, netip.MustParseAddrPort(c))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := m.Connect(ctx, remote); err != nil {
		t.Errorf("the way is not gone: %v", err)
	}
}

func (r *raw) mission(level conclave.Level) (*signal.Readiness, *pass.Readiness) {
	r.t.Helper()
	r.send(&signal.Mission{Level: level})
	m := expect[*signal.Readiness](r)
	signed, err := pass.ParseReadiness(m.Document)
	if err != nil {
		r.t.Fatal(err)
	}
	return m, signed
}

func TestReadyIsSaidOfALineByWhichSoundCameAndOfNoOther(t *testing.T) {
	w := servertest.Start(t)
	w.AddPerson("anna", "Anna Weber")
	d := w.Enrol("anna")
	r := connect(t, w)
	r.hello(d, conclave.MeetingID{})
	if line := expect[*signal.Line](r); !line.Enough {
		t.Fatalf("the line itself is not enough: %+v", line)
	}
	reasons := func(m *signal.Readiness) []string {
		var codes []string
		for _, p := range m.Reasons {
			codes = append(codes, p.Code)
		}
		return codes
	}

	// A probe takes longer than the server waits for a sign of life.
	done := make(chan struct{})
	var alive sync.WaitGroup
	alive.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(time.Second):
				r.send(&signal.Ping{N: 1})
			}
		}
	})
	defer func() { close(done); alive.Wait() }()

	// Nobody tried: that signalling is well says nothing of sound.
	if m, signed := r.mission(2); m.Ready || signed.Ready || signed.Media != "" || !slices.Contains(reasons(m), "media_untried") {
		t.Errorf("untried: %+v, signed %+v", m, signed)
	}

	// It is tried, and nothing comes: as where a network lets no UDP out.
	lost := way(t)
	r.probe(lost.Local())
	probed := expect[*signal.Probed](r)
	if probed.Reached || len(probed.Facts) > 0 || probed.Reason == nil || probed.Reason.Code != "media_blocked" || probed.Reason.Fix != "use_network_with_udp" || probed.Reason.Args["port"] == "" {
		t.Errorf("nothing came: %+v", probed)
	}
	if m, signed := r.mission(2); m.Ready || signed.Ready || signed.Media != "" || !slices.Equal(reasons(m), []string{"media_blocked"}) {
		t.Errorf("blocked: %+v, signed %+v", m, signed)
	}

	// It comes: proven, signed, and no leg of any meeting.
	good := way(t)
	connectTo(t, good, r.probe(good.Local()).Server)
	probed = expect[*signal.Probed](r)
	proven := []conclave.Fact{{Name: "media", Value: "udp", Proven: true}, {Name: "media_network", Value: "same", Proven: true}}
	if !probed.Reached || probed.Reason != nil || !slices.Equal(probed.Facts, proven) {
		t.Errorf("it came: %+v", probed)
	}
	m, signed := r.mission(2)
	if !m.Ready || !signed.Ready || signed.Media != "udp" {
		t.Errorf("reached: %+v, signed %+v", m, signed)
	}
	// What policy finds besides is still found.
	if m, signed := r.mission(3); m.Ready || signed.Media != "udp" || !slices.Contains(reasons(m), "network_not_approved") || slices.Contains(reasons(m), "media_blocked") {
		t.Errorf("at CONFIDENTIAL: %+v", m)
	}

	// Another end than the one that was announced is not let through.
	other, announced := way(t), way(t)
	l := other.Local()
	fake := announced.Local().Fingerprint
	l.Fingerprint = fake
	server := r.probe(l).Server
	remote := media.Remote{Ufrag: server.Ufrag, Password: server.Password, Fingerprint: [32]byte(server.Fingerprint), Candidates: []netip.AddrPort{netip.MustParseAddrPort(server.Candidates[0])}}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	go other.Connect(ctx, remote)
	if probed := expect[*signal.Probed](r); probed.Reached {
		t.Error("another certificate than the announced one came through")
	}
}

func TestOnlyWhoIsKnownMayHaveAWayTried(t *testing.T) {
	w := servertest.Start(t)
	w.AddPerson("anna", "Anna Weber")
	d := w.Enrol("anna")
	l := way(t).Local()

	r := connect(t, w)
	r.send(&signal.Probe{Ufrag: l.Ufrag, Fingerprint: l.Fingerprint[:]})
	if f := expect[*signal.Failed](r); f.Reason.Code != "out_of_turn" {
		t.Errorf("before a hello: %+v", f)
	}
	r.hello(d, w.OpenMeeting("anna"))
	expect[*signal.Line](r)
	r.send(&signal.Probe{Ufrag: "no", Fingerprint: l.Fingerprint[:]})
	if f := expect[*signal.Failed](r); f.Reason.Code != "request_malformed" {
		t.Errorf("without an end: %+v", f)
	}
	// Before a meeting, too; and one that is under way gives place to the next, and to the join.
	r.probe(l)
	r.probe(l)
	r.send(&signal.Join{})
	expect[*signal.Admitted](r)
	r.send(&signal.Probe{Ufrag: l.Ufrag, Fingerprint: l.Fingerprint[:]})
	if f := expect[*signal.Failed](r); f.Reason.Code != "out_of_turn" {
		t.Errorf("in the room: %+v", f)
	}

	if err := w.Server.Directory().RevokeDevice(t.Context(), conclave.DeviceOf(d.Point), time.Now()); err != nil {
		t.Fatal(err)
	}
	r = connect(t, w)
	r.hello(d, conclave.MeetingID{})
	expect[*signal.Line](r)
	r.send(&signal.Probe{Ufrag: l.Ufrag, Fingerprint: l.Fingerprint[:]})
	if f := expect[*signal.Failed](r); f.Reason.Code != "device_revoked" {
		t.Errorf("a revoked device: %+v", f)
	}
}
