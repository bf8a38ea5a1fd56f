package sfu

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"conclave"
	"conclave/sfu/slot"
)

// The errors a caller branches on.
var (
	ErrClosed = errors.New("sfu: closed")
	ErrFull   = errors.New("sfu: room has as many legs as it may have")
	ErrNoLeg  = errors.New("sfu: no such leg")
	ErrOffer  = errors.New("sfu: offer out of bounds")
)

const (
	silentAfter = 2 * time.Second
	// lostAfter is also how long an address is sent media without an authenticated word from it (RFC 7675 allows 30 s): a
	// member who forges the source of one request must not have us pour a room onto somebody else for long.
	lostAfter = 15 * time.Second
)

// Credentials are the server's end of one leg's ICE (RFC 8445, Section 5.3). They last as long as the leg.
type Credentials struct {
	Ufrag, Password string
}

// Offer is the client's end of the media path, as signalling brought it.
type Offer struct {
	Ufrag       string            // of the client's ICE; 4 to 256 ice-chars
	Fingerprint [sha256.Size]byte // SHA-256 of the client's DTLS certificate
	Microphone  uint32            // SSRCs of what it sends, all different; 0: never
	Camera      uint32
	Screen      uint32
	Opus, VP8   uint8 // its payload type numbers, 35 to 63 or 96 to 127, different
}

func (o *Offer) check() error {
	if len(o.Ufrag) < 4 || len(o.Ufrag) > 256 {
		return ErrOffer
	}
	for _, c := range []byte(o.Ufrag) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '-' || c == '_' || c == '=' || c == '#') {
			return ErrOffer
		}
	}
	ssrcs := [...]uint32{o.Microphone, o.Camera, o.Screen}
	for i, a := range ssrcs {
		for _, b := range ssrcs[:i] {
			if a != 0 && a == b {
				return ErrOffer
			}
		}
	}
	for _, pt := range [...]uint8{o.Opus, o.VP8} {
		// Others would be taken for RTCP (RFC 5761, Section 4) or are statically assigned.
		if pt < 35 || pt > 127 || pt > 63 && pt < 96 {
			return ErrOffer
		}
	}
	if o.Opus == o.VP8 {
		return ErrOffer
	}
	return nil
}

// Owners says which leg is in which slot: index is the slot's, the zero LegID an empty slot.
type Owners struct {
	Audio, Camera, Screen []conclave.LegID
	Crowded               bool // more open microphones than slots: legs should tell their loudness
}

// leg is one leg's control state, guarded by the room's mutex.
type leg struct {
	id          conclave.LegID
	credentials Credentials
	order       uint64        // of admission
	heard       time.Duration // when it last gave an audio slot away, or was admitted
	admitted    bool
	transport   *transport // nil until Connect
	silent      bool       // EventSilent was sent
	lost        bool       // EventLost was sent
}

// table is what the forwarder sees of a room: immutable.
type table struct {
	receivers []*transport // of open legs, in order of admission
}

// Room is one room's media. Its methods may be called from any goroutine.
type Room struct {
	sfu    *SFU
	id     conclave.MeetingID
	plan   slot.Plan
	notify func(Event)
	table  atomic.Pointer[table]
	stage  stage // the forwarder's

	mu       sync.Mutex
	closed   bool
	legs     map[conclave.LegID]*leg
	slots    []*seat // audio, then camera, then screen
	admitted uint64
	crowded  bool
	turned   time.Duration        // when a slot was last given in turn, or the room became crowded
	shut     [slot.Kinds + 1]bool // kinds of which nothing is forwarded
}

func newRoom(s *SFU, id conclave.MeetingID, plan slot.Plan, notify func(Event)) *Room {
	r := &Room{sfu: s, id: id, plan: plan, notify: notify, legs: make(map[conclave.LegID]*leg)}
	for _, k := range []struct {
		kind slot.Kind
		n    int
	}{{slot.Microphone, plan.Audio}, {slot.Camera, plan.Camera}, {slot.Screen, plan.Screen}} {
		for i := range k.n {
			r.slots = append(r.slots, newSeat(slot.Slot{Kind: k.kind, Index: i}, len(r.slots)))
		}
	}
	r.table.Store(new(table))
	return r
}

// event queues an event for the owner.
func (r *Room) event(e Event) {
	if r.notify != nil {
		r.sfu.events.add(func() { r.notify(e) })
	}
}

// Credentials returns the server's ICE credentials for a leg, and makes the leg if it is new.
func (r *Room) Credentials(id conclave.LegID) (Credentials, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return Credentials{}, ErrClosed
	}
	l := r.legs[id]
	if l == nil {
		if len(r.legs) >= r.sfu.config.MaxLegs {
			return Credentials{}, ErrFull
		}
		l = &leg{id: id, credentials: newCredentials()}
		r.legs[id] = l
	}
	return l.credentials, nil
}

func newCredentials() Credentials {
	var b [6 + 18]byte
	rand.Read(b[:])
	return Credentials{
		Ufrag:    base64.RawStdEncoding.EncodeToString(b[:6]), // its alphabet is within ice-char
		Password: base64.RawStdEncoding.EncodeToString(b[6:]),
	}
}

// Connect starts a transport for the leg; a former one of the same leg is closed. EventReady or EventFailed follows. A leg
// that is admitted already is open as soon as it is ready.
func (r *Room) Connect(id conclave.LegID, o Offer) error {
	if err := o.check(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	l := r.legs[id]
	if l == nil {
		return ErrNoLeg
	}
	t := newTransport(r, l, o)
	if err := r.sfu.register(t); err != nil {
		return err
	}
	old := l.transport
	l.transport, l.silent, l.lost = t, false, false
	if old != nil {
		old.close()
		r.update()
	}
	return nil
}

// register makes t known to ICE.
func (s *SFU) register(t *transport) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch old := s.users[t.user]; {
	case s.closed:
		return ErrClosed
	case old != nil && old.leg != t.leg:
		return ErrOffer // 48 random bits of the ufrag are the leg's own: cannot be
	}
	s.users[t.user] = t
	return nil
}

// Admit lets a leg's media through, now or as soon as its transport is ready. Admitting again changes nothing.
func (r *Room) Admit(id conclave.LegID) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.legs[id]
	if l == nil {
		return ErrNoLeg
	}
	if !l.admitted {
		l.admitted = true
		r.admitted++
		l.order, l.heard = r.admitted, r.sfu.now()
		r.update()
	}
	return nil
}

// Cut stops all media from and to a leg. When it returns, no packet is taken any more; what was gathered leaves within
// MaxGather at most, not to this leg. The transport stays up, so that Admit heals at once.
func (r *Room) Cut(id conclave.LegID) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.legs[id]
	if l == nil {
		return ErrNoLeg
	}
	if l.transport != nil {
		l.transport.open.Store(false)
	}
	if l.admitted {
		l.admitted = false
		r.update()
	}
	return nil
}

// Hang ends a leg's path: Cut, and what is known of the path is forgotten. Another Connect makes another one, which is open
// once the leg is admitted again.
func (r *Room) Hang(id conclave.LegID) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.legs[id]
	if l == nil {
		return ErrNoLeg
	}
	l.admitted = false
	if t := l.transport; t != nil {
		l.transport = nil
		t.close()
	}
	r.update()
	return nil
}

// Shut has nothing of a kind forwarded, whoever sends it, until it is told otherwise.
func (r *Room) Shut(kind slot.Kind, shut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed && r.shut[kind] != shut {
		r.shut[kind] = shut
		r.arrange(r.sfu.now())
	}
}

// Remove cuts a leg and forgets it. Removing an unknown leg is no error.
func (r *Room) Remove(id conclave.LegID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.legs[id]
	if l == nil {
		return
	}
	delete(r.legs, id)
	l.admitted = false
	if l.transport != nil {
		l.transport.close()
	}
	r.update()
}

// Close removes all legs and the room.
func (r *Room) Close() {
	r.mu.Lock()
	r.closed = true
	for id, l := range r.legs {
		delete(r.legs, id)
		if l.transport != nil {
			l.transport.close()
		}
	}
	r.table.Store(new(table))
	for _, s := range r.slots {
		s.vacate()
	}
	r.mu.Unlock()
	r.sfu.mu.Lock()
	delete(r.sfu.rooms, r)
	r.sfu.mu.Unlock()
}

// Owners returns who is in which slot now.
func (r *Room) Owners() Owners {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := Owners{
		Audio:   make([]conclave.LegID, r.plan.Audio),
		Camera:  make([]conclave.LegID, r.plan.Camera),
		Screen:  make([]conclave.LegID, r.plan.Screen),
		Crowded: r.crowded,
	}
	for _, s := range r.slots {
		if s.owner == nil {
			continue
		}
		switch s.name.Kind {
		case slot.Microphone:
			o.Audio[s.name.Index] = s.owner.id
		case slot.Camera:
			o.Camera[s.name.Index] = s.owner.id
		case slot.Screen:
			o.Screen[s.name.Index] = s.owner.id
		}
	}
	return o
}

// Admitted says whether a leg's media are let through.
func (r *Room) Admitted(id conclave.LegID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.legs[id]
	return l != nil && l.admitted
}

// Stats returns what was measured of a leg's line.
func (r *Room) Stats(id conclave.LegID) (LegStats, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.legs[id]
	if l == nil {
		return LegStats{}, ErrNoLeg
	}
	if l.transport == nil {
		return LegStats{}, nil
	}
	return l.transport.read(r.sfu.now()), nil
}

// update brings flags, table and slots in line with the legs. The room's mutex is held.
func (r *Room) update() {
	old := r.table.Load().receivers
	var opened, receivers []*transport
	for _, l := range r.inOrder() {
		if t := l.transport; l.admitted && !l.lost && t != nil && t.keys.Load() != nil && !t.closed() {
			receivers = append(receivers, t)
			if !slices.Contains(old, t) {
				opened = append(opened, t)
			}
		}
	}
	for _, t := range old {
		if !slices.Contains(receivers, t) {
			t.open.Store(false)
			t.release()
		}
	}
	for _, t := range opened {
		t.open.Store(true)
	}
	r.table.Store(&table{receivers: receivers})
	r.arrange(r.sfu.now())
	if len(opened) > 0 {
		// Whoever comes anew understands no delta frame.
		for _, s := range r.slots {
			s.wantKey()
		}
	}
}

// inOrder returns the legs in order of admission, those not admitted first.
func (r *Room) inOrder() []*leg {
	legs := make([]*leg, 0, len(r.legs))
	for _, l := range r.legs {
		legs = append(legs, l)
	}
	slices.SortFunc(legs, func(a, b *leg) int { return cmp.Compare(a.order, b.order) })
	return legs
}

// ready is told by a transport whose handshake is done.
func (r *Room) ready(t *transport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t.leg.transport != t || r.closed {
		return
	}
	r.event(Event{Kind: EventReady, Leg: t.leg.id, Address: t.address()})
	r.update()
}

// failed is told by a transport that will not get ready any more.
func (r *Room) failed(t *transport, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t.leg.transport != t || r.closed {
		return
	}
	r.sfu.log.Info("sfu: leg's DTLS failed", "meeting", r.id, "leg", t.leg.id, "reason", reason(err))
	r.event(Event{Kind: EventFailed, Leg: t.leg.id})
}

// reason words an error without what a peer has written.
func reason(err error) string {
	switch {
	case errors.Is(err, errFingerprint):
		return "other certificate than announced"
	case errors.Is(err, errProfile):
		return "no AEAD profile in common"
	}
	return fmt.Sprintf("%T", err)
}

// moved is told by ICE when a leg's packets come from elsewhere.
func (r *Room) moved(t *transport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t.leg.transport == t && t.keys.Load() != nil && !r.closed {
		r.event(Event{Kind: EventMoved, Leg: t.leg.id, Address: t.address()})
	}
}

// tick looks for silences and lets slots follow the speakers.
func (r *Room) tick(now time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	changed := false
	for _, l := range r.legs {
		t := l.transport
		if t == nil {
			continue
		}
		quiet := now - time.Duration(t.heard.Load())
		lost := quiet >= lostAfter
		silent := lost || quiet >= silentAfter && t.open.Load() && t.in[slot.Microphone-1].ssrc != 0
		switch {
		case lost && !l.lost:
			l.lost, l.silent, changed = true, true, true
			r.event(Event{Kind: EventLost, Leg: l.id})
		case silent && !l.silent:
			l.silent = true
			r.event(Event{Kind: EventSilent, Leg: l.id})
		case !silent && l.silent:
			changed = changed || l.lost
			l.lost, l.silent = false, false
			r.event(Event{Kind: EventBack, Leg: l.id})
		}
	}
	if changed {
		r.update() // arranges too
		return
	}
	r.arrange(now)
}
