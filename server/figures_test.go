package server_test

import (
	"context"
	"flag"
	"fmt"
	"math"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"conclave"
	"conclave/endpoint"
	"conclave/endpoint/headless"
	"conclave/endpoint/media"
	"conclave/gate"
	"conclave/mls"
	"conclave/server"
	"conclave/server/servertest"
	"conclave/sframe"
	"conclave/sfu/slot"
	"conclave/signal"
)

var (
	figureLegs   = flag.String("figures.legs", "2,8", "rooms to measure the gate in: numbers of legs")
	figureRounds = flag.Int("figures.rounds", 4, "quarantines in each")
)

// TestFiguresOfTheGate measures, in rooms of several sizes with real servers, keys and sound, what a change of a fact leads
// to (make bench-gate). From the moment at which a leg's client says that its line is no longer good:
//
//	(a) until the last packet came that the server forwarded to it
//	(b) until the last of the others seals under keys that the leg has not: the last frame that it could ever open
//	(c) from the moment at which the line is good again: until it hears again
//
// The leg is hostile: it keeps its transport and all keys that it ever had. All legs and the server share this machine, which
// does the work of every member; (b) is therefore told as it was, and as it would be if nothing else ran here: the CPU time
// of this process over its cores.
func TestFiguresOfTheGate(t *testing.T) {
	if testing.Short() {
		t.Skip("measures real rooms")
	}
	for text := range strings.SplitSeq(*figureLegs, ",") {
		legs, err := strconv.Atoi(text)
		if err != nil || legs < 2 {
			t.Fatalf("no number of legs: %q", text)
		}
		t.Run(text, func(t *testing.T) { measureGate(t, legs, *figureRounds) })
	}
}

func measureGate(t *testing.T, legs, rounds int) {
	w := servertest.StartWith(t, servertest.Options{Policy: claimsPolicy(t, ""), Limits: server.Limits{Rate: 1e4, Burst: 1e5, Requests: 1e4, PerAddress: 1e4, Connections: 1e4}})
	var people []conclave.PersonID
	var devices []*servertest.Device
	for i := range legs {
		people = append(people, conclave.PersonID(fmt.Sprintf("p%03d", i)))
		devices = append(devices, w.Enrol(people[i]))
	}
	m := openRestricted(w, people...)
	var room []*meter
	victims := min(legs-1, 4)
	for i, d := range devices {
		g := newMeter(t, w, d, m, i <= victims, i == 0)
		room = append(room, g)
		if i == 0 || i%8 == 0 {
			g.until("in", func() bool { return g.in.Load() })
		}
	}
	for _, g := range room {
		g.until("in", func() bool { return g.in.Load() })
	}
	var forwarded, sealed, alone1, healed []float64
	for round := range rounds {
		victim := room[1+round%victims]
		victim.until("sound", func() bool { return time.Since(victim.at(&victim.opened)) < 200*time.Millisecond })
		settle(t, room)
		began, worked := time.Now(), cpuTime(t)
		victim.Facts(notAlone)
		victim.until("quarantine", func() bool { return victim.away.Load() })
		for _, g := range room {
			if g != victim {
				g.until("keys", func() bool { return g.at(&g.epoch).After(began) && g.members.Load() == int64(legs-1) })
			}
		}
		worked = cpuTime(t) - worked
		last := time.Duration(0)
		for _, g := range room {
			if g != victim {
				last = max(last, g.at(&g.rekeyed).Sub(began))
			}
		}
		time.Sleep(300 * time.Millisecond)
		forwarded = append(forwarded, ms(max(0, victim.at(&victim.packet).Sub(began))))
		sealed = append(sealed, ms(last))
		alone1 = append(alone1, min(ms(last), ms(worked)/float64(runtime.NumCPU())))
		if victim.at(&victim.opened).Sub(began) > last {
			t.Errorf("a frame opened %v after the last key", victim.at(&victim.opened).Sub(began)-last)
		}
		victim.in.Store(false)
		began = time.Now()
		victim.Facts(alone)
		victim.until("in again", func() bool { return victim.in.Load() })
		victim.until("sound again", func() bool { return victim.at(&victim.opened).After(began) })
		healed = append(healed, ms(victim.at(&victim.firstAfter).Sub(began)))
		for _, g := range room {
			g.until("all", func() bool { return g.members.Load() == int64(legs) })
		}
	}
	fmt.Printf("gate %4d legs %3d rounds   last packet p50 %6.1f p99 %6.1f ms   last key p50 %6.1f p99 %6.1f ms (alone here %6.1f, %6.1f)   hears again p50 %6.0f p99 %6.0f ms\n",
		legs, rounds, at(forwarded, 0.5), at(forwarded, 0.99), at(sealed, 0.5), at(sealed, 0.99), at(alone1, 0.5), at(alone1, 0.99), at(healed, 0.5), at(healed, 0.99))
	limit := 500.0
	if legs > 50 {
		limit = 1000
	}
	if p := at(alone1, 0.99); p > limit {
		t.Errorf("keys after %.0f ms, want %.0f", p, limit)
	}
	if p := at(healed, 0.5); p > 2000 && legs <= 20 {
		t.Errorf("back with sound after %.0f ms, want 2000", p)
	}
}

// cpuTime is what this process has computed so far, on all cores.
func cpuTime(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// at returns the nearest-rank percentile.
func at(values []float64, share float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(0, int(math.Ceil(share*float64(len(sorted))))-1)]
}

// settle waits until all have the same epoch and nothing happens for a moment.
func settle(t *testing.T, room []*meter) {
	for range 100 {
		quiet := true
		for _, g := range room {
			quiet = quiet && g.number.Load() == room[0].number.Load() && time.Since(g.at(&g.epoch)) > 100*time.Millisecond
		}
		if quiet {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the room does not settle")
}

// meter is an endpoint that notes when what happens to it. Those with sound keep every key and every transport that they
// ever had, whatever they are told.
type meter struct {
	*endpoint.Endpoint
	t       *testing.T
	speaks  bool
	in      atomic.Bool
	away    atomic.Bool
	members atomic.Int64
	number  atomic.Uint64 // of the epoch

	epoch, rekeyed, packet, opened, firstAfter atomic.Int64 // moments

	mu        sync.Mutex
	ring      *sframe.Keyring
	transport *media.Transport
	remote    media.Remote
	waiting   bool // for the first sound after it came in
}

func (m *meter) at(v *atomic.Int64) time.Time { return time.Unix(0, v.Load()) }
func (m *meter) note(v *atomic.Int64)         { v.Store(time.Now().UnixNano()) }

func (m *meter) until(what string, holds func() bool) {
	m.t.Helper()
	for range 6000 {
		if holds() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	m.t.Fatalf("no %s in 30 s", what)
}

func newMeter(t *testing.T, w *servertest.World, d *servertest.Device, meeting conclave.MeetingID, sound, speaks bool) *meter {
	t.Helper()
	dial, host, err := endpoint.Dial(w.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	scalar, err := d.Key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	signer, err := mls.NewSigner(gate.Suite, scalar)
	if err != nil {
		t.Fatal(err)
	}
	g := &meter{t: t, ring: sframe.NewKeyring(), speaks: speaks}
	cfg := endpoint.Config{Dial: dial, Host: host, Identity: endpoint.Identity{Statement: d.Statement, Signer: signer},
		Organisation: w.Organisation.ID, Root: w.Organisation.Root, Meeting: meeting,
		Client: signal.Client{Kind: "headless", Name: "test"}, Emit: g.emit}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	if speaks {
		c, err := headless.New(headless.Config{Endpoint: cfg})
		if err != nil {
			t.Fatal(err)
		}
		g.Endpoint = c.Endpoint
		go func() { defer close(done); c.Run(ctx) }()
	} else {
		cfg.Media = silentMedia{g}
		if sound {
			cfg.Media = ear{g}
		}
		if g.Endpoint, err = endpoint.New(cfg); err != nil {
			t.Fatal(err)
		}
		go func() { defer close(done); g.Run(ctx) }()
	}
	t.Cleanup(func() { cancel(); <-done })
	return g
}

func (m *meter) emit(e endpoint.Event) {
	switch {
	case e.State != nil && e.State.State == endpoint.StateChecked:
		m.Join(nil)
	case e.State != nil:
		m.in.Store(e.State.State == endpoint.StateIn)
		m.away.Store(e.State.State == endpoint.StateQuarantined)
	case e.Code != nil:
		m.note(&m.epoch)
		m.number.Store(e.Code.Epoch)
		if e.Code.Why == "removed" || e.Code.Why == "went" {
			m.rekeyed.Store(e.At.UnixNano()) // its media have the keys
		}
	case e.Roster != nil:
		m.members.Store(int64(len(e.Roster.Members)))
	}
}

// silentMedia has no media path.
type silentMedia struct{ *meter }

func (silentMedia) Offer(context.Context, signal.SlotCounts, signal.Server) (signal.Media, error) {
	return signal.Media{}, errDisk
}
func (silentMedia) Ready()                  {}
func (silentMedia) Keys(endpoint.EpochKeys) {}
func (silentMedia) Retire(uint64)           {}
func (silentMedia) Slots(signal.Slots)      {}
func (silentMedia) Bar(uint32)              {}
func (silentMedia) Hold(bool)               {}
func (silentMedia) Suspend()                {}
func (silentMedia) Close()                  {}

// ear hears with every key that it ever had.
type ear struct{ *meter }

func (e ear) Offer(_ context.Context, _ signal.SlotCounts, server signal.Server) (signal.Media, error) {
	t, err := media.New(media.Config{Microphone: true, Packet: e.heard})
	if err != nil {
		return signal.Media{}, err
	}
	remote := media.Remote{Ufrag: server.Ufrag, Password: server.Password, Fingerprint: [32]byte(server.Fingerprint)}
	for _, c := range server.Candidates {
		remote.Candidates = append(remote.Candidates, netip.MustParseAddrPort(c))
	}
	e.mu.Lock()
	old := e.transport
	e.transport, e.remote = t, remote
	e.mu.Unlock()
	if old != nil {
		old.Close()
	}
	l := t.Local()
	return signal.Media{Ufrag: l.Ufrag, Password: l.Password, Fingerprint: l.Fingerprint[:], Opus: l.Opus, VP8: l.VP8,
		SSRC: signal.Streams{Microphone: l.Microphone, Camera: l.Camera, Screen: l.Screen}}, nil
}

func (e ear) Ready() {
	e.mu.Lock()
	t, remote := e.transport, e.remote
	e.mu.Unlock()
	go t.Connect(context.Background(), remote)
}

func (e ear) Keys(k endpoint.EpochKeys) {
	var members []sframe.Leaf
	for _, m := range k.Members {
		members = append(members, sframe.Leaf(m))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if k.First && e.ring.Add(k.Epoch, k.BaseKey, members, time.Now()) == nil {
		e.waiting = true
		return
	}
	e.ring.Add(k.Epoch, k.BaseKey, members, time.Now())
}

func (e ear) heard(p media.Packet) {
	e.note(&e.packet)
	e.mu.Lock()
	defer e.mu.Unlock()
	if p.Slot.Kind != slot.Microphone || len(p.Payload) < 2 {
		return
	}
	if _, _, err := e.ring.Open(nil, sframe.Kind(p.Slot.Kind), nil, p.Payload[:len(p.Payload)-1], time.Now()); err == nil {
		e.note(&e.opened)
		if e.waiting {
			e.waiting = false
			e.note(&e.firstAfter)
		}
	}
}

func (ear) Retire(uint64)      {}
func (ear) Slots(signal.Slots) {}
func (ear) Bar(uint32)         {}
func (ear) Hold(bool)          {}
func (ear) Suspend()           {}
func (e ear) Close() {
	e.mu.Lock()
	t := e.transport
	e.transport = nil
	e.mu.Unlock()
	if t != nil {
		t.Close()
	}
}
