package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"conclave"
	"conclave/identity"
	"conclave/server/reply"
	"conclave/sfu"
	"conclave/sfu/slot"
	"conclave/signal"
)

// A probe goes the way of sound before there is any meeting: STUN and DTLS to the media port, nothing else. Only whoever has a
// statement of ours may have one; its leg stands in a room of its own, is never admitted, and so neither sends nor hears.

// probeTime is how long a probe may take. A good way needs a tenth of a second; a browser sends its first question again a
// dozen times within this.
const probeTime = 8 * time.Second

// probes is the room of all probes.
type probes struct {
	room *sfu.Room

	mu      sync.Mutex
	waiting map[conclave.LegID]chan<- sfu.Event // guarded by mu; each takes one event
}

// openProbes makes the room. The SFU closes it.
func (s *Server) openProbes() error {
	s.probes.waiting = map[conclave.LegID]chan<- sfu.Event{}
	var err error
	s.probes.room, err = s.cfg.Media.OpenRoom(conclave.MeetingID{}, slot.Plan{Audio: 1}, s.probes.event)
	return err
}

// event takes an event from the SFU's goroutine.
func (p *probes) event(e sfu.Event) {
	if e.Kind != sfu.EventReady && e.Kind != sfu.EventFailed {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if to := p.waiting[e.Leg]; to != nil {
		delete(p.waiting, e.Leg)
		to <- e // of a buffer of one
	}
}

// open has the SFU wait for the client's end of a way.
func (p *probes) open(leg conclave.LegID, ufrag string, fingerprint [sha256.Size]byte) (sfu.Credentials, <-chan sfu.Event, error) {
	credentials, err := p.room.Credentials(leg)
	if err != nil {
		return credentials, nil, err
	}
	came := make(chan sfu.Event, 1)
	p.mu.Lock()
	p.waiting[leg] = came
	p.mu.Unlock()
	// A probe sends no sound: the numbers only have to be in order.
	if err := p.room.Connect(leg, sfu.Offer{Ufrag: ufrag, Fingerprint: fingerprint, Opus: 111, VP8: 96}); err != nil {
		p.close(leg)
		return credentials, nil, err
	}
	return credentials, came, nil
}

func (p *probes) close(leg conclave.LegID) {
	p.mu.Lock()
	delete(p.waiting, leg)
	p.mu.Unlock()
	p.room.Remove(leg)
}

// tried is what a visitor knows of the way of sound. The zero value is that it was not tried.
type tried struct {
	result atomic.Pointer[mediaWay] // of the last probe that ended; its zero value: nothing came
	cancel context.CancelFunc       // of the one under way; nil: none was begun
	wait   sync.WaitGroup
}

// end ends a probe that is under way, and waits for it.
func (t *tried) end() {
	if t.cancel != nil {
		t.cancel()
		t.wait.Wait()
	}
}

// probe answers signal.Probe, and tells what came of it.
func (v *visitor) probe(ctx context.Context, m *signal.Probe) error {
	fail := func(p conclave.Problem) error {
		v.conn.send(&signal.Failed{Of: m.Type(), Reason: p})
		return nil
	}
	if !v.joins.take(joinsPerMinute/60.0, joinsPerMinute, v.now()) {
		return fail(problemTooMany)
	}
	if _, err := v.cfg.Organisation.Trust.Statement(v.asker.encoded, v.now()); err != nil {
		return fail(problemOf(err, problemTurn))
	}
	if _, err := v.directory.Device(ctx, v.asker.device); err != nil {
		if _, err := identity.Found(err); err != nil {
			return err
		}
		return fail(problemOf(err, problemTurn))
	}
	v.tried.end()
	leg, err := conclave.NewLegID(v.cfg.Rand)
	if err != nil {
		return err
	}
	credentials, came, err := v.probes.open(leg, m.Ufrag, [sha256.Size]byte(m.Fingerprint))
	switch {
	case errors.Is(err, sfu.ErrFull):
		return fail(problemTooMany)
	case errors.Is(err, sfu.ErrOffer):
		return fail(reply.Malformed)
	case err != nil:
		return err
	}
	v.tried.result.Store(nil)
	v.conn.send(&signal.Probing{Server: v.mediaServer(credentials)})
	probing, cancel := context.WithTimeout(v.conn.ctx, probeTime)
	v.tried.cancel = cancel
	signalling := asker{address: v.asker.address}
	v.tried.wait.Go(func() {
		defer cancel()
		defer v.probes.close(leg)
		var way mediaWay
		select {
		case e := <-came:
			if e.Kind == sfu.EventReady && e.Address.IsValid() {
				way = mediaWay{kind: "udp", address: e.Address.Addr().Unmap()}
			}
		case <-probing.Done():
			if !errors.Is(probing.Err(), context.DeadlineExceeded) {
				return // another was begun, or the connection ends
			}
		}
		v.tried.result.Store(&way)
		answer := &signal.Probed{Reached: way.kind != "", Facts: []conclave.Fact{}}
		if answer.Reached {
			signalling.media = way
			answer.Facts = append(answer.Facts, conclave.Fact{Name: "media", Value: way.kind, Proven: true})
			if word := v.ground.Load().mediaNetwork(&signalling); word != "" {
				answer.Facts = append(answer.Facts, conclave.Fact{Name: "media_network", Value: word, Proven: true})
			}
		} else {
			answer.Reason = v.mediaBlocked()
		}
		v.conn.send(answer)
	})
	return nil
}

// mediaServer is the server's end of a media path.
func (s *Server) mediaServer(c sfu.Credentials) signal.Server {
	fingerprint := s.cfg.Media.Fingerprint()
	out := signal.Server{Ufrag: c.Ufrag, Password: c.Password, Fingerprint: fingerprint[:]}
	for _, a := range s.cfg.Media.Candidates() {
		out.Candidates = append(out.Candidates, a.String())
	}
	return out
}

// mediaBlocked says that nothing came to the media port, and which that is.
func (s *Server) mediaBlocked() *conclave.Problem {
	port := ""
	if c := s.cfg.Media.Candidates(); len(c) > 0 {
		port = strconv.Itoa(int(c[0].Port()))
	}
	return &conclave.Problem{Code: "media_blocked", Args: map[string]string{"port": port}, Fix: "use_network_with_udp"}
}

// asProbed is who asks, with the way of sound as it was tried: for answers that admit nobody. A leg proves its own.
func (v *visitor) asProbed() *asker {
	a := *v.asker
	if way := v.tried.result.Load(); way != nil {
		a.media = *way
	}
	return &a
}
