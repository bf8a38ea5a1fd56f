package server

import (
	"crypto/sha256"
	"slices"
	"sync"
	"time"

	"conclave"
	"conclave/line"
	"conclave/server/reply"
	"conclave/signal"
)

// phones are the gateways that are connected, their living calls, and the brakes on guessing. Nothing of it is durable: after
// a restart a gateway's calls are unknown, and it is told to end them.
type phones struct {
	mu       sync.Mutex // guards all below
	gateways map[conclave.DeviceID]*gateway
	calls    map[signal.CallID]*phoneCall
	legs     map[conclave.DeviceID]*phoneCall // by the id of the call's own key

	wrong   map[[sha256.Size]byte]*bucket // wrong codes by caller
	all     bucket                        // wrong codes in all
	alerted time.Time
	trying  sync.Mutex // held while a code is looked at and its outcome is counted

	rings    map[conclave.PersonID]*rings
	meetings map[conclave.MeetingID]*bucket // rings for a meeting
	budget   bucket                         // rings in all

	screened map[signal.PhoneLine]screening
}

// screening is what was found on a kind of line a moment ago.
type screening struct {
	at  time.Time
	ask bool
}

// rings are a person's: when they were last rung, and how often of late.
type rings struct {
	last   time.Time
	budget bucket
}

// phoneCall is one call, in or out.
type phoneCall struct {
	id      signal.CallID
	gateway conclave.DeviceID
	line    signal.PhoneLine
	caller  [sha256.Size]byte // hashed with the process's salt
	left    int               // tries
	busy    bool              // a code is being looked at

	// From a right code, or of a call-back.
	person  conclave.PersonID
	meeting conclave.MeetingID
	device  conclave.DeviceID // of its leg; zero before there is one
	out     bool              // the server asked for it
	asked   bool              // its person may ask to be rung
	secure  bool              // the call-back demands SRTP
}

const (
	// codeTries are a caller's in one call.
	codeTries = 3
	// wrongPerCaller may be wrong in an hour, wrongInAll in ten minutes: a ministry's callers mistype, a guesser does nothing
	// else. With both a code is found once in 10^8/(36*24) days.
	wrongPerCaller = 9
	wrongInAll     = 60
	alertEvery     = 10 * time.Minute
	maxCallers     = 1 << 14

	// ringPause is how long a person is left alone after a ring. What rings can cost, and how much they can bother, is bounded for a person, for
	// a meeting, so that one that is abused does not use up what the others need, and in all.
	ringPause       = time.Minute
	ringsPerPerson  = 12  // a day: one more after two hours
	ringsPerMeeting = 72  // in half a day: one more after ten minutes
	ringsPerDay     = 200 // one more after seven minutes

	screenedFor = 2 * time.Second
)

// connected takes a gateway on, in place of its former connection. Calls that it does not name are over; those that it names
// and the server does not know are to end.
func (p *phones) connected(g *gateway, living []signal.CallID, _ time.Time) {
	p.mu.Lock()
	old := p.gateways[g.device]
	if p.gateways == nil {
		p.gateways = map[conclave.DeviceID]*gateway{}
		p.calls = map[signal.CallID]*phoneCall{}
		p.legs = map[conclave.DeviceID]*phoneCall{}
	}
	p.gateways[g.device] = g
	var gone []*phoneCall
	for id, c := range p.calls {
		if c.gateway == g.device && !slices.Contains(living, id) {
			p.drop(c)
			gone = append(gone, c)
		}
	}
	var unknown []signal.CallID
	for _, id := range living {
		if c := p.calls[id]; c == nil || c.gateway != g.device {
			unknown = append(unknown, id)
		}
	}
	p.mu.Unlock()
	if old != nil {
		old.conn.kill()
	}
	for _, id := range unknown {
		g.conn.send(&signal.CallEnd{Call: id, Reason: reply.Trouble})
	}
	g.dropCalls(gone)
}

// disconnected says whether g was the gateway's present connection.
func (p *phones) disconnected(g *gateway, _ time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gateways[g.device] != g {
		return false
	}
	delete(p.gateways, g.device)
	return true
}

// forsaken drops the calls of a gateway that has not come back.
func (p *phones) forsaken(id conclave.DeviceID) (gone []*phoneCall) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gateways[id] != nil {
		return nil
	}
	return p.dropAll(id)
}

// revoked drops the calls of a gateway and its connection.
func (p *phones) revoked(id conclave.DeviceID) []*phoneCall {
	p.mu.Lock()
	defer p.mu.Unlock()
	if g := p.gateways[id]; g != nil {
		delete(p.gateways, id)
		g.conn.kill()
	}
	return p.dropAll(id)
}

func (p *phones) dropAll(id conclave.DeviceID) (gone []*phoneCall) {
	for _, c := range p.calls {
		if c.gateway == id {
			p.drop(c)
			gone = append(gone, c)
		}
	}
	return gone
}

// struckOff drops the calls of a person who was struck off.
func (p *phones) struckOff(person conclave.PersonID) (gone []*phoneCall) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.calls {
		if c.person == person {
			p.drop(c)
			gone = append(gone, c)
		}
	}
	return gone
}

// drop forgets a call; mu is held.
func (p *phones) drop(c *phoneCall) {
	delete(p.calls, c.id)
	if p.legs[c.device] == c {
		delete(p.legs, c.device)
	}
}

// add takes a call on. It says no where the gateway has as many as it may, or names one twice.
func (p *phones) add(c *phoneCall) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calls == nil || p.calls[c.id] != nil {
		return false
	}
	n := 0
	for _, other := range p.calls {
		if other.gateway == c.gateway {
			n++
		}
	}
	if n >= signal.MaxCalls {
		return false
	}
	p.calls[c.id] = c
	return true
}

// take returns a copy of a gateway's call.
func (p *phones) take(id signal.CallID, gateway conclave.DeviceID) (phoneCall, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.calls[id]
	if c == nil || c.gateway != gateway {
		return phoneCall{}, false
	}
	return *c, true
}

// change changes a gateway's call, under the mutex.
func (p *phones) change(id signal.CallID, gateway conclave.DeviceID, f func(*phoneCall)) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.calls[id]
	if c == nil || c.gateway != gateway {
		return false
	}
	f(c)
	return true
}

// over forgets a call and returns it, nil if there was none.
func (p *phones) over(id signal.CallID, gateway conclave.DeviceID) *phoneCall {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.calls[id]
	if c == nil || c.gateway != gateway {
		return nil
	}
	p.drop(c)
	return c
}

// seat binds a call to its leg's key.
func (p *phones) seat(id signal.CallID, gateway conclave.DeviceID, device conclave.DeviceID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.calls[id]
	if c == nil || c.gateway != gateway || p.legs[device] != nil {
		return false
	}
	c.device = device
	p.legs[device] = c
	return true
}

// replaced drops a person's other call into the meeting of the one at device, in whose place that comes, and returns it; nil: there
// is none.
func (p *phones) replaced(device conclave.DeviceID) (older *phoneCall) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.legs[device]
	for at, other := range p.legs {
		if c != nil && at != device && other.person == c.person && other.meeting == c.meeting {
			older = other
		}
	}
	if older != nil {
		p.drop(older)
	}
	return older
}

// unseat takes a call's leg away: it was refused.
func (p *phones) unseat(device conclave.DeviceID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.legs[device]; c != nil {
		c.device = conclave.DeviceID{}
		delete(p.legs, device)
	}
}

// leg returns the living call whose leg has this key: a proof of it by the word of an authenticated gateway.
func (p *phones) leg(device conclave.DeviceID) (phoneCall, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.legs[device]; c != nil {
		return *c, true
	}
	return phoneCall{}, false
}

// conn returns the connection of a gateway, nil if it is away.
func (p *phones) conn(id conclave.DeviceID) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if g := p.gateways[id]; g != nil {
		return g.conn
	}
	return nil
}

// any returns a gateway that is connected: the one with the fewest calls.
func (p *phones) any() *gateway {
	p.mu.Lock()
	defer p.mu.Unlock()
	var best *gateway
	least := 0
	for id, g := range p.gateways {
		n := 0
		for _, c := range p.calls {
			if c.gateway == id {
				n++
			}
		}
		if best == nil || n < least {
			best, least = g, n
		}
	}
	return best
}

// mayTry says whether a caller's code is looked at now.
func (p *phones) mayTry(caller [sha256.Size]byte, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all.leak(wrongInAll/600.0, now)
	if p.all.level+1 > wrongInAll {
		return false
	}
	if b := p.wrong[caller]; b != nil {
		b.leak(wrongPerCaller/3600.0, now)
		return b.level+1 <= wrongPerCaller
	}
	return true
}

// wasWrong counts a wrong code, and says whether the operator is to be alerted.
func (p *phones) wasWrong(caller [sha256.Size]byte, now time.Time) (alert bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wrong == nil || len(p.wrong) >= maxCallers {
		p.wrong = map[[sha256.Size]byte]*bucket{} // the brake on all holds
	}
	b := p.wrong[caller]
	if b == nil {
		b = new(bucket)
		p.wrong[caller] = b
	}
	b.take(wrongPerCaller/3600.0, wrongPerCaller, now)
	p.all.take(wrongInAll/600.0, wrongInAll, now)
	if (b.level+1 > wrongPerCaller || p.all.level+1 > wrongInAll) && now.Sub(p.alerted) >= alertEvery {
		p.alerted = now
		return true
	}
	return false
}

// mayRing counts a ring in, or says that it is too soon, or too many. What is denied counts nowhere.
func (p *phones) mayRing(meeting conclave.MeetingID, person conclave.PersonID, now time.Time) *conclave.Problem {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rings == nil || len(p.rings) >= maxCallers {
		p.rings = map[conclave.PersonID]*rings{}
	}
	if p.meetings == nil || len(p.meetings) >= maxCallers {
		p.meetings = map[conclave.MeetingID]*bucket{}
	}
	one, whole := p.rings[person], p.meetings[meeting]
	if one == nil {
		one = new(rings)
	}
	if whole == nil {
		whole = new(bucket)
	}
	const day = 24 * 3600.0
	switch {
	case now.Sub(one.last) < ringPause:
		return &problemRingSoon
	case !one.budget.has(ringsPerPerson/day, ringsPerPerson, now):
		return &problemRingPerson
	case !whole.has(2*ringsPerMeeting/day, ringsPerMeeting, now):
		return &problemRingMeeting
	case !p.budget.take(ringsPerDay/day, ringsPerDay, now):
		return &problemRingSpent
	}
	one.budget.level++
	whole.level++
	one.last = now
	p.rings[person], p.meetings[meeting] = one, whole
	return nil
}

// ringing says whether a person is being rung for a meeting: asked for, and neither over nor of a leg yet.
func (p *phones) ringing(meeting conclave.MeetingID, person conclave.PersonID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.calls {
		if c.out && c.meeting == meeting && c.person == person && c.device == (conclave.DeviceID{}) {
			return true
		}
	}
	return false
}

// changed forgets what was screened: there are other codes now.
func (p *phones) changed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.screened = nil
}

func (p *phones) wasScreened(l signal.PhoneLine, now time.Time) (ask, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.screened[l]
	return s.ask, ok && now.Sub(s.at) < screenedFor
}

func (p *phones) keepScreened(l signal.PhoneLine, ask bool, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.screened == nil {
		p.screened = map[signal.PhoneLine]screening{}
	}
	p.screened[l] = screening{now, ask}
}

// kind is what a call's line is to package line.
func (c *phoneCall) kind() line.Kind {
	if c.line == signal.PhoneHop {
		return line.KindHop
	}
	return line.KindPhone
}

// facts are what is proven of a call's line, by its gateway's word.
func (c *phoneCall) facts() []conclave.Fact {
	way := "called"
	if c.out {
		way = "rung"
	}
	return []conclave.Fact{{Name: "phone_line", Value: string(c.line), Proven: true}, {Name: "phone_call", Value: way, Proven: true},
		{Name: "gateway", Value: c.gateway.Text(), Proven: true}}
}

// callerTag hashes what a caller's network claims, so that no number is kept.
func callerTag(trunk, caller string) [sha256.Size]byte {
	return sha256.Sum256([]byte(conclave.Tag("caller", []byte(trunk+"\x00"+caller)) + trunk))
}
