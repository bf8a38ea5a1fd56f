package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"conclave"
	"conclave/identity"
	"conclave/mls"
	"conclave/pass"
	"conclave/roster"
	"conclave/server/delivery"
	"conclave/sfu"
	"conclave/signal"
	"conclave/store"
)

// roomPrefix is where rooms keep their rosters (roster.Room.Snapshot).
const roomPrefix = "room"

const (
	// inboxSize bounds what waits for a room. A full inbox makes the connections wait, each with one message.
	inboxSize = 256
	// rosterPause spares members of a large room a new roster for each of a hundred legs that come in one second.
	rosterPause = 50 * time.Millisecond
	// lostPassLife is what the pass of a member whose line is lost is good for at least: its place, and some time to
	// remove it. Without it nobody could join meanwhile, since a joiner verifies every leaf.
	lostPassLife = roster.PlaceKept + 15*time.Second
)

// room is one meeting that runs. All fields below inbox are owned by run.
type room struct {
	*Server
	meeting identity.Meeting // as it was when the room was opened; its level is owned by run, the rest immutable
	ctx     context.Context  // of what the room does; it outlives connections
	inbox   chan func()
	// pressing are those in inbox that may cut somebody off ahead of their turn (press).
	pressing chan *pressing
	done     chan struct{} // closed when run has returned
	users    int           // guarded by Server.mu: visitors, and whoever is about to become one

	mediaMu     sync.Mutex
	mediaEvents []sfu.Event   // guarded by mediaMu
	mediaWake   chan struct{} // buffer of one

	roster *roster.Room
	group  *delivery.Group
	media  *sfu.Room
	bound  map[conclave.LegID][]byte // fingerprints that assertions named, by leg
	seats  map[conclave.LegID]*seat
	// spending is what each leg has used up, over all its connections.
	spending map[conclave.LegID]*spent
	away     map[conclave.LegID]*asker // what was known last of legs whose line is lost
	shut     map[conclave.LegID]int    // by how many pressing messages, whose turn is to come, a leg's media are cut
	looked   time.Time                 // when legs in quarantine were looked at last
	// exceptable are the legs in quarantine whom policy would let be excepted, as last ruled.
	exceptable map[conclave.LegID]bool
	queue      queue
	remover    conclave.LegID // the chair's whose removal is carried out now; zero: none
	change     *change        // of level or policy, that is under way; nil: none
	ended      bool           // everybody was put out: the meeting is over
	broken     bool           // the store failed: everybody comes back to a room that is opened anew

	stated time.Time // when a leg whose statement has run out was ruled on last
	held   bool      // somebody was held back (heldBack)

	closed    []string  // what the policy holds closed while somebody's line is as weak as it is
	rosterDue time.Time // when the roster is to be sent; zero: nothing has changed
	rosterAt  time.Time // when it was sent last
	expected  expected  // who is invited
	slots     []byte    // the last slots sent, encoded
	slotsDue  bool
}

// seat is a leg's connection, with what its next ruling needs. Restored legs have none until they resume.
type seat struct {
	conn  *conn
	asker asker
	grade conclave.Grade // as last ruled
	// absent is what the leg was told last of those who are not there, encoded; nil: nothing.
	absent []byte
	renew  bucket
	// proofs bounds what the leg may ask of the device log: a joiner asks once for each member.
	proofs bucket
	facts  bucket // of changes that the leg tells of
}

// openRoom opens a room as the store has it.
func (s *Server) openRoom(ctx context.Context, id conclave.MeetingID) (*room, error) {
	meeting, err := s.directory.Meeting(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("server: open room: %w", err)
	}
	r := &room{
		Server: s, meeting: meeting,
		ctx: context.WithoutCancel(s.ctx), inbox: make(chan func(), inboxSize), pressing: make(chan *pressing, pressingSize), shut: map[conclave.LegID]int{}, done: make(chan struct{}),
		mediaWake: make(chan struct{}, 1), seats: map[conclave.LegID]*seat{}, away: map[conclave.LegID]*asker{}, spending: map[conclave.LegID]*spent{}, exceptable: map[conclave.LegID]bool{}, roster: roster.New(),
	}
	if r.group, err = delivery.Open(ctx, delivery.Config{
		Store: s.cfg.Store, Meeting: r.target(), Trust: s.cfg.Organisation.Trust, Removal: s.cfg.Organisation.RemovalKey(), Renewed: r.newestPass,
	}, s.now(), s.cfg.Log); err != nil {
		return nil, fmt.Errorf("server: open room: %w", err)
	}
	if err := r.restoreRoster(ctx); err != nil {
		return nil, err
	}
	if !r.group.Exists() {
		if err := s.witnessed(&meeting); err != nil {
			return nil, fmt.Errorf("server: open room: %w", err)
		}
	}
	if r.media, err = s.cfg.Media.OpenRoom(id, s.cfg.Slots, r.mediaEvent); err != nil {
		return nil, fmt.Errorf("server: open room: %w", err)
	}
	return r, nil
}

func (r *room) restoreRoster(ctx context.Context) error {
	stored, err := r.cfg.Store.Get(ctx, r.key())
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("server: open room: %w", err)
	}
	if errors.Is(err, store.ErrNotFound) {
		stored.Value = []byte("[]")
	}
	leaves := map[roster.Leaf]conclave.DeviceID{}
	for _, l := range r.group.Leaves() {
		leaves[roster.Leaf(l.Index)] = l.Device
	}
	newLeg := func() conclave.LegID {
		id, err := conclave.NewLegID(r.cfg.Rand)
		if err != nil {
			panic("server: no randomness: " + err.Error())
		}
		return id
	}
	if r.roster, err = roster.Restore(stored.Value, leaves, newLeg, r.now()); err != nil {
		return fmt.Errorf("server: open room: %w", err)
	}
	for _, leg := range r.roster.Legs() {
		if leg.Standing == roster.Member {
			r.extendPass(leg)
		}
	}
	return nil
}

func (r *room) key() store.Key { return roomPrefix + "." + store.Key(r.meeting.ID.Text()) }

// post hands a message to the room, and says whether the room still runs. It waits while the inbox is full.
func (r *room) post(f func()) bool {
	select {
	case r.inbox <- f:
		return true
	case <-r.done:
		return false
	}
}

// ask is post that waits until f has run.
func (r *room) ask(f func()) bool { return r.askPressing(f, nil) }

// askPressing is press that waits until f has run.
func (r *room) askPressing(f func(), ahead func() []conclave.LegID) bool {
	ran := make(chan struct{})
	if !r.press(func() { f(); close(ran) }, ahead) {
		return false
	}
	select {
	case <-ran:
		return true
	case <-r.done:
		select {
		case <-ran: // it was the last that ran
			return true
		default:
			return false
		}
	}
}

// run owns the room until nobody needs it or the server ends.
func (r *room) run() {
	defer close(r.done)
	defer r.media.Close()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	r.lapseStatements()
	r.act(r.roster.Tick(r.now())) // removals that were due when the server stopped
	for {
		r.flush()
		if r.over() {
			return
		}
		timer.Reset(r.idle())
		select {
		case f := <-r.inbox:
			f()
		case p := <-r.pressing: // what is before it in inbox may wait for the disk
			r.cutAhead(p)
		case <-r.mediaWake:
			r.takeMediaEvents()
		case <-timer.C:
			r.tick()
		case <-r.Server.ctx.Done():
			return // places are kept
		}
	}
}

// tick does what is due.
func (r *room) tick() {
	now := r.now()
	r.lapseStatements()
	r.lapseCertificates()
	r.act(r.roster.Tick(now))
	if due := r.healDue(); !due.IsZero() && !now.Before(due) {
		r.heal()
	}
	if !now.Before(r.meeting.Until) && !r.ended {
		if err := r.directory.EndMeeting(r.ctx, r.meeting.ID, now); err != nil {
			r.cfg.Log.Error("meeting's end not kept", "meeting", r.meeting.ID, "cause", err)
		}
		r.end() // its time is over whatever the disk says
	}
}

// over says whether the room's goroutine may end.
func (r *room) over() bool {
	if r.broken {
		for _, s := range r.seats {
			s.conn.kill()
		}
		return r.retire(r, true)
	}
	return r.roster.Len() == 0 && len(r.seats) == 0 && !r.group.Exists() && len(r.inbox) == 0 && r.retire(r, false)
}

// idle returns how long nothing is due.
func (r *room) idle() time.Duration {
	now := r.now()
	next := now.Add(time.Hour)
	if t, ok := r.roster.Next(); ok && t.Before(next) {
		next = t
	}
	if !r.rosterDue.IsZero() && r.rosterDue.Before(next) {
		next = r.rosterDue
	}
	if t, ok := r.queue.due(); ok && t.Before(next) {
		next = t
	}
	if t := r.healDue(); !t.IsZero() && t.Before(next) {
		next = t
	}
	if t, ok := r.statementDue(); ok && t.Before(next) {
		next = t
	}
	if t, ok := r.certificateDue(); ok && t.Before(next) {
		next = t
	}
	if r.change != nil && now.Add(changeAgain).Before(next) {
		next = now.Add(changeAgain)
	}
	if t := r.meeting.Until; t.Before(next) && !r.ended {
		next = t
	}
	return max(next.Sub(now), 0)
}

// newestPass implements delivery.Config.Renewed.
func (r *room) newestPass(device conclave.DeviceID) []byte {
	for _, leg := range r.roster.Legs() {
		if leg.Device == device && len(leg.Pass) > 0 {
			return leg.Pass
		}
	}
	return nil
}

// keep makes the roster durable.
func (r *room) keep() error {
	snapshot := r.roster.Snapshot()
	if !r.group.Exists() {
		if snapshot = r.roster.Memory(); r.ended {
			snapshot = nil
		}
	}
	err := r.await(func() error {
		if snapshot == nil {
			return r.cfg.Store.Delete(r.ctx, r.key())
		}
		_, err := r.cfg.Store.Put(r.ctx, r.key(), snapshot)
		return err
	})
	if err != nil {
		return fmt.Errorf("server: keep the roster: %w", err)
	}
	return nil
}

// fail gives the room up: what the store holds is the truth, and this room is no longer sure of it. All legs come back.
func (r *room) fail(what string, err error) {
	r.cfg.Log.Error("room is opened anew", "meeting", r.meeting.ID, "while", what, "cause", err)
	r.broken = true
}

// send tells a leg something, if it has a connection.
func (r *room) send(leg conclave.LegID, m signal.Message) {
	if s := r.seats[leg]; s != nil {
		s.conn.send(m)
	}
}

// tellMembers tells all members that have a connection, and have their keys.
func (r *room) tellMembers(m signal.Message) { r.tellFrame(signal.Encode(m)) }

func (r *room) tellFrame(frame []byte) {
	for id, s := range r.seats {
		if leg, ok := r.roster.Leg(id); ok && leg.Standing == roster.Member {
			s.conn.sendFrame(frame)
		}
	}
}

// flush sends what has changed: the group to whose turn it is, slots and roster.
func (r *room) flush() {
	if !r.broken {
		r.act(r.roster.Settle(r.now()))
	}
	r.advance()
	r.letOn()
	r.admitNext()
	if r.slotsDue {
		r.slotsDue = false
		r.tellSlots()
	}
	if r.rosterDue.IsZero() || r.now().Before(r.rosterDue) {
		return
	}
	r.rosterDue, r.rosterAt = time.Time{}, r.now()
	r.closing()
	var plain, chair []byte
	for id, s := range r.seats {
		switch leg, ok := r.roster.Leg(id); {
		case !ok || leg.Standing != roster.Member:
		case leg.Role == conclave.RoleChair:
			if chair == nil {
				chair = signal.Encode(r.rosterMessage(true))
			}
			s.conn.sendFrame(chair)
		default:
			if plain == nil {
				plain = signal.Encode(r.rosterMessage(false))
			}
			s.conn.sendFrame(plain)
		}
	}
	r.tellAbsent()
}

// rosterChanged has the roster sent, soon or at once.
func (r *room) rosterChanged(atOnce bool) {
	due := r.rosterAt.Add(rosterPause)
	if now := r.now(); atOnce || due.Before(now) {
		due = now
	}
	if r.rosterDue.IsZero() || due.Before(r.rosterDue) {
		r.rosterDue = due
	}
}

// tellSlots sends who is in which slot to whoever does not know it.
func (r *room) tellSlots() {
	frame := signal.Encode(r.slotsMessage())
	if string(frame) == string(r.slots) {
		return
	}
	r.slots = frame
	r.tellFrame(frame)
}

func (r *room) slotsMessage() *signal.Slots {
	owners := r.media.Owners()
	leaves := func(legs []conclave.LegID) []int {
		out := make([]int, len(legs))
		for i, id := range legs {
			out[i] = -1
			if l, ok := r.roster.Leg(id); ok && l.Standing == roster.Member {
				out[i] = int(l.Leaf)
			}
		}
		return out
	}
	return &signal.Slots{Audio: leaves(owners.Audio), Camera: leaves(owners.Camera), Screen: leaves(owners.Screen), Crowded: owners.Crowded}
}

// mediaEvent takes an event from the SFU's goroutine. The list is bounded by what legs can do in the milliseconds until the
// room reads it.
func (r *room) mediaEvent(e sfu.Event) {
	r.mediaMu.Lock()
	r.mediaEvents = append(r.mediaEvents, e)
	r.mediaMu.Unlock()
	select {
	case r.mediaWake <- struct{}{}:
	default:
	}
}

func (r *room) takeMediaEvents() {
	r.mediaMu.Lock()
	events := r.mediaEvents
	r.mediaEvents = nil
	r.mediaMu.Unlock()
	for _, e := range events {
		switch e.Kind {
		case sfu.EventReady, sfu.EventMoved:
			r.mediaFrom(e)
		case sfu.EventSlots:
			r.slotsDue = true
		case sfu.EventFailed, sfu.EventLost:
			r.send(e.Leg, &signal.Failed{Of: "media", Reason: problemMediaLost})
		}
	}
}

// groupState is the group for a joiner, nil if there is none.
func (r *room) groupState() *signal.Group {
	st := r.group.State()
	if st == nil {
		return nil
	}
	g := &signal.Group{Epoch: uint64(st.Epoch), GroupInfo: st.GroupInfo, Tree: st.Tree, Passes: []signal.LeafPass{}}
	for _, l := range r.roster.Legs() {
		if l.InTree && len(l.Pass) > 0 {
			g.Passes = append(g.Passes, signal.LeafPass{Leaf: uint32(l.Leaf), Pass: l.Pass})
		}
	}
	return g
}

// extendPass renews the pass of a member whose line is lost, if it would run out before its place does. Nobody gains by it:
// the leg has its keys, and its pass is still the shortest-lived thing about it.
func (r *room) extendPass(leg roster.Leg) {
	if p, err := pass.ParsePass(leg.Pass); err == nil && p.NotAfter.Sub(r.now()) >= lostPassLife {
		return
	}
	b, until, err := r.signPass(r.ctx, r.passes(), &leg, leg.Grade, lostPassLife)
	if err != nil {
		r.cfg.Log.Error("pass of a lost leg not renewed", "meeting", r.meeting.ID, "cause", err)
		return
	}
	r.act(r.roster.Pass(leg.ID, b, until, leg.Grade))
	r.tellMembers(&signal.Passes{Passes: []signal.LeafPass{{Leaf: uint32(leg.Leaf), Pass: b}}})
}

// problemOf returns the problem that an error holds, or the other one.
func problemOf(err error, otherwise conclave.Problem) conclave.Problem {
	var p conclave.Problem
	if errors.As(err, &p) {
		return p
	}
	return otherwise
}

// status is what the administrator is told of a room.
type status struct {
	Legs  []legStatus `json:"legs"`
	Epoch mls.Epoch   `json:"epoch"`
	Group bool        `json:"group"`
}

type legStatus struct {
	Leg      conclave.LegID    `json:"leg"`
	Person   conclave.PersonID `json:"person"`
	Device   conclave.DeviceID `json:"device"`
	Standing string            `json:"standing"`
	Leaf     *roster.Leaf      `json:"leaf,omitempty"`
	Grade    conclave.Grade    `json:"grade"`
	Lost     bool              `json:"lost"`
	Media    bool              `json:"media"` // are let through
}

func (r *room) status() json.RawMessage {
	st := status{Legs: []legStatus{}, Epoch: r.group.Epoch(), Group: r.group.Exists()}
	for _, l := range r.roster.Legs() {
		one := legStatus{Leg: l.ID, Person: l.Person, Device: l.Device, Grade: l.Grade, Lost: !l.Lost.IsZero(), Media: r.media.Admitted(l.ID)}
		one.Standing = l.Standing.String()
		if l.InTree {
			leaf := l.Leaf
			one.Leaf = &leaf
		}
		st.Legs = append(st.Legs, one)
	}
	b, err := json.Marshal(st)
	if err != nil {
		panic("server: status: " + err.Error())
	}
	return b
}
