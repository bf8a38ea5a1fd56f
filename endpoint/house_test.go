package endpoint

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"conclave"
	"conclave/gate"
	"conclave/gate/gatetest"
	"conclave/mls"
	"conclave/pass"
	"conclave/pass/passtest"
	"conclave/signal"
)

// house is a server of one meeting at the edge of Conn, small enough to lie in any way that a test wants. The real server
// is tested with endpoints in package server.
type house struct {
	t       *testing.T
	org     *passtest.Organisation
	devices *gatetest.DeviceLog
	meeting pass.MeetingContext
	removal mls.Signer

	mu       sync.Mutex // guards all below
	follower *mls.Follower
	info     []byte // of the follower's epoch
	legs     map[conclave.LegID]*leg
	log      []signal.Commit
	pending  [][]byte // proposals of the follower's epoch
	passes   map[uint32][]byte
	down     bool // nobody gets a connection
	silent   bool // nobody gets an answer
	lie      lies
	links    int // of the device log's states that were asked for
	// enterHook sees each Enter first, and keeps it from the house by returning true.
	enterHook func(*signal.Enter) bool
	// restateHook sees that there is a fresh statement, and keeps it from the house by returning true.
	restateHook func() bool
	deaf        *device // whose renewals are not answered
	quiet       bool    // who is removed is not told
	asked       int     // proposals of members that others go
	ledgers     []signal.Ledger
}

// randReader is the system's randomness.
type randReader struct{}

func (randReader) Read(b []byte) (int, error) { return rand.Read(b) }

// lies are where a hostile server says something else.
type lies struct {
	admitted func(*signal.Admitted)
	roster   func(*signal.Roster)
	entered  func(*signal.Entered)
	// consistency answers in the place of the device log.
	consistency func(*pipe, *signal.Consistency)
	restated    bool // a fresh statement is answered with the proof of the one before
	commits     bool // members' commits are ordered never
	failed      bool // members' commits are ordered, and the line breaks with the word that they failed
	// fork takes members' commits in the place of the house.
	fork func(*leg, *signal.Commit)
}

type leg struct {
	id        conclave.LegID
	device    *device
	statement []byte
	conn      *pipe // nil while lost
	leaf      uint32
	member    bool
	state     signal.State
	lost      *time.Time
	media     int // offers
}

// device is an enrolled device.
type device struct {
	name      string
	signer    mls.Signer
	statement []byte
}

func newHouse(t *testing.T) *house {
	h := &house{t: t, org: passtest.New(t, "example.org", time.Now()), legs: make(map[conclave.LegID]*leg),
		passes: make(map[uint32][]byte)}
	h.devices = gatetest.New(t, h.org)
	rand.Read(h.meeting.Meeting[:])
	h.meeting.Level = 2
	h.meeting.PolicyHash = [32]byte{1, 2, 3}
	scalar, err := h.org.Removal.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if h.removal, err = mls.NewSigner(gate.Suite, scalar); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *house) device(org *passtest.Organisation, name string) *device {
	scalar, err := passtest.LeafKey(h.t).Bytes()
	if err != nil {
		h.t.Fatal(err)
	}
	signer, err := mls.NewSigner(gate.Suite, scalar)
	if err != nil {
		h.t.Fatal(err)
	}
	return &device{name: name, signer: signer,
		statement: org.Statement(signer.Public(), conclave.PersonID(name), name)}
}

// pipe is a connection in memory: the client's end is a Conn.
type pipe struct {
	up, down chan []byte
	done     chan struct{}
	once     sync.Once
}

var errPipe = errors.New("pipe closed")

func (p *pipe) Read(ctx context.Context) ([]byte, error) {
	select {
	case f := <-p.down:
		return f, nil
	case <-p.done:
		return nil, errPipe
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipe) Write(ctx context.Context, frame []byte) error {
	select {
	case p.up <- frame:
		return nil
	case <-p.done:
		return errPipe
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pipe) Close() error { p.once.Do(func() { close(p.done) }); return nil }

func (p *pipe) say(m signal.Message) {
	select {
	case p.down <- signal.Encode(m):
	case <-p.done:
	}
}

func (h *house) dial(d *device) func(context.Context) (Conn, error) {
	return func(context.Context) (Conn, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.down {
			return nil, errPipe
		}
		p := &pipe{up: make(chan []byte, 64), down: make(chan []byte, 256), done: make(chan struct{})}
		l := &leg{device: d, conn: p}
		rand.Read(l.id[:])
		go h.serve(l, p)
		p.say(&signal.Challenge{Nonce: make([]byte, 32), Time: time.Now()})
		return p, nil
	}
}

func (h *house) serve(l *leg, p *pipe) {
	take := func(frame []byte) {
		m, err := signal.Decode(frame, signal.FromClient)
		if err != nil {
			h.t.Errorf("client sent %v", err)
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if !h.silent {
			l = h.take(l, p, m)
		}
	}
	for {
		select {
		case frame := <-p.up:
			take(frame)
		case <-p.done:
			for len(p.up) > 0 { // what was sent before the end
				take(<-p.up)
			}
			h.mu.Lock()
			if l.conn == p {
				l.conn = nil
				now := time.Now()
				l.lost = &now
				h.tellRoster()
			}
			h.mu.Unlock()
			return
		}
	}
}

// take follows one message and returns the leg that the connection is from then on.
func (h *house) take(l *leg, p *pipe, m signal.Message) *leg {
	switch m := m.(type) {
	case *signal.Hello:
		check := mls.SignatureCheck{Suite: gate.Suite, PublicKey: l.device.signer.Public(),
			Message: signal.HelloContent(make([]byte, 32), h.meeting.Meeting, "house.test", m.Client), Signature: m.Signature}
		if check.Verify() != nil {
			h.t.Error("hello is not signed for this host")
		}
		l.statement = m.Statement
		if m.Resume != nil {
			if old := h.legs[m.Resume.Leg]; old != nil && old.member {
				old.conn, old.lost, old.statement = p, nil, m.Statement
				p.say(h.admitted(old, m.Resume))
				h.tellRoster()
				return old
			}
		}
		p.say(&signal.Line{Grade: conclave.GradeSealed, Enough: true})
	case *signal.Join:
		p.say(h.admitted(l, nil))
	case *signal.Enter:
		if h.enterHook == nil || !h.enterHook(m) {
			h.enter(l, m)
		}
	case *signal.Commit:
		h.commit(l, m)
	case *signal.Leave:
		// A proposal may be of an epoch that is over; then the house proposes for the one who leaves.
		if l.member && (len(m.Proposal) == 0 || !h.propose(m.Proposal)) {
			h.remove(l)
		}
		p.say(&signal.Ended{Reason: conclave.Problem{Code: "left", Fix: "join_again"}})
	case *signal.Media:
		l.media++
		p.say(&signal.MediaReady{})
	case *signal.State:
		l.state = *m
		h.tellRoster()
	case *signal.Renew:
		if h.deaf == l.device {
			return l
		}
		b := h.org.Pass(l.device.signer.Public(), h.meeting, time.Now())
		h.passes[l.leaf] = b
		h.tell(&signal.Passes{Passes: []signal.LeafPass{{Leaf: l.leaf, Pass: b}}})
	case *signal.Restate:
		if h.restateHook == nil || !h.restateHook() {
			l.statement = m.Statement
			logged := m.Statement
			if h.lie.restated {
				logged = l.device.statement
			}
			p.say(&signal.Restated{Statement: m.Statement, LogProof: h.devices.Proof(logged)})
		}
	case *signal.Consistency:
		h.links++
		if h.lie.consistency != nil {
			h.lie.consistency(p, m)
		} else {
			p.say(&signal.ConsistencyProof{From: m.From, To: m.To, Path: h.devices.Consistency(m.From, m.To)})
		}
	case *signal.Ledger:
		h.ledgers = append(h.ledgers, *m)
	case *signal.Proposal:
		h.asked++
		h.propose(m.Message)
	case *signal.Ping:
		p.say(&signal.Pong{N: m.N})
	}
	return l
}

func (h *house) admitted(l *leg, resume *signal.Resume) *signal.Admitted {
	a := &signal.Admitted{Leg: l.id, Pass: h.org.Pass(l.device.signer.Public(), h.meeting, time.Now()), Grants: h.org.Grants,
		LogProof: h.devices.Proof(l.statement),
		Meeting: signal.Meeting{Title: "Border liaison", Level: h.meeting.Level, LevelName: "RESTRICTED",
			PolicyHash: h.meeting.PolicyHash[:], Since: time.Now(), Role: conclave.RoleMember},
		Slots:  signal.SlotCounts{Audio: 4, Camera: 2, Screen: 1},
		Server: signal.Server{Ufrag: "server", Password: "a password of the server", Fingerprint: make([]byte, 32)}}
	if resume != nil {
		a.Resumed = true
		for _, c := range h.log {
			if c.Epoch >= resume.Epoch {
				a.Commits = append(a.Commits, c)
			}
		}
	} else if h.follower != nil {
		a.Group = h.group()
	}
	if h.lie.admitted != nil {
		h.lie.admitted(a)
	}
	return a
}

func (h *house) group() *signal.Group {
	g := &signal.Group{Epoch: uint64(h.follower.Epoch()), GroupInfo: h.info, Tree: mls.Marshal(h.follower.Tree())}
	for at, p := range h.passes {
		if h.follower.Tree().Leaf(mls.LeafIndex(at)) != nil {
			g.Passes = append(g.Passes, signal.LeafPass{Leaf: at, Pass: p})
		}
	}
	return g
}

// open is a Verifier that leaves all to the members: whoever is let in by mistake or malice is theirs to notice.
type open struct{}

func (open) VerifyLeaf(mls.LeafCheck) error { return nil }
func (open) VerifyExternalSender(*mls.ExternalSender, *mls.GroupContext, time.Time) error {
	return nil
}
func (open) Client(*mls.LeafNode) string { return "" }

var openRules = mls.NewRules(mls.Config{Verifier: open{}})

func parseInfo(t testing.TB, b []byte) *mls.GroupInfo {
	var m mls.Message
	if err := mls.Unmarshal(b, &m); err != nil || m.GroupInfo == nil {
		t.Errorf("group info: %v", err)
	}
	return m.GroupInfo
}

func (h *house) enter(l *leg, m *signal.Enter) {
	if h.follower == nil {
		tree, err := mls.ParseRatchetTree(gate.Suite, m.Tree)
		if err != nil {
			h.t.Error(err)
			return
		}
		if h.follower, err = mls.NewFollower(parseInfo(h.t, m.GroupInfo), tree, openRules, time.Now()); err != nil {
			h.t.Error(err)
			return
		}
	} else if m.Commit == nil || m.Epoch != uint64(h.follower.Epoch()) {
		l.conn.say(&signal.Stale{Epoch: uint64(h.follower.Epoch()), Group: h.group()})
		return
	} else {
		change, err := h.follower.Process(m.Commit, time.Now())
		if err != nil {
			h.t.Error(err)
			return
		}
		for _, gone := range change.Removed {
			for _, old := range h.legs {
				if old.member && old.leaf == uint32(gone) {
					h.drop(old, "replaced")
				}
			}
		}
		l.leaf = uint32(change.Committer)
		h.order(signal.Commit{Epoch: m.Epoch, Message: m.Commit})
	}
	h.info = m.GroupInfo
	l.member = true
	h.legs[l.id] = l
	e := &signal.Entered{Epoch: uint64(h.follower.Epoch()), Leaf: l.leaf}
	if h.lie.entered != nil {
		h.lie.entered(e)
	}
	l.conn.say(e)
	h.tellRoster()
}

// order broadcasts a commit.
func (h *house) order(c signal.Commit) {
	kept := c
	kept.Proposals, h.pending = h.pending, nil
	h.log = append(h.log, kept)
	h.tell(&c)
}

func (h *house) commit(l *leg, m *signal.Commit) {
	if h.lie.commits {
		return
	}
	if h.lie.fork != nil {
		h.lie.fork(l, m)
		return
	}
	if m.Epoch != uint64(h.follower.Epoch()) {
		l.conn.say(&signal.Stale{Epoch: uint64(h.follower.Epoch())})
		return
	}
	change, err := h.follower.Process(m.Message, time.Now())
	if err != nil {
		h.t.Error(err)
		return
	}
	h.info = m.GroupInfo
	if h.lie.failed {
		h.lie.failed = false
		l.conn.say(&signal.Failed{Of: "commit", Reason: conclave.Problem{Code: "server_trouble", Fix: "try_again"}})
		l.conn.Close()
	}
	h.order(signal.Commit{Epoch: m.Epoch, Message: m.Message})
	for _, gone := range change.Removed {
		for _, old := range h.legs {
			if old.member && old.leaf == uint32(gone) {
				h.drop(old, "removed")
			}
		}
	}
	h.tellRoster()
}

func (h *house) drop(l *leg, code string) {
	l.member = false
	delete(h.legs, l.id)
	if l.conn != nil && !h.quiet {
		l.conn.say(&signal.Ended{Reason: conclave.Problem{Code: code, Fix: "join_again"}})
	}
}

// remove proposes a removal as the server does.
func (h *house) remove(l *leg) {
	if p, err := h.follower.ExternalRemove(h.removal, 0, mls.LeafIndex(l.leaf)); err == nil { // else it is gone
		h.propose(p)
	}
}

// change proposes what the group shall be for, as the server does.
func (h *house) change(to pass.MeetingContext) {
	p, err := h.follower.ExternalProposal(h.removal, 0, &mls.GroupContextExtensions{
		Extensions: gate.ContextExtensions(to, passtest.Point(h.org.Removal))})
	if err != nil {
		h.t.Error(err)
		return
	}
	h.propose(p)
}

// renew gives all members but some a pass for what the house is for now.
func (h *house) renew(but ...*device) {
	m := &signal.Passes{}
	for _, l := range h.legs {
		if l.member && !slices.Contains(but, l.device) {
			h.passes[l.leaf] = h.org.Pass(l.device.signer.Public(), h.meeting, time.Now())
			m.Passes = append(m.Passes, signal.LeafPass{Leaf: l.leaf, Pass: h.passes[l.leaf]})
		}
	}
	h.tell(m)
}

func (h *house) propose(p []byte) bool {
	epoch := uint64(h.follower.Epoch())
	if _, err := h.follower.Process(p, time.Now()); err != nil {
		return false
	}
	h.pending = append(h.pending, p)
	h.tell(&signal.Proposal{Epoch: epoch, Message: p})
	return true
}

func (h *house) tell(m signal.Message) {
	for _, l := range h.legs {
		if l.member && l.conn != nil {
			l.conn.say(m)
		}
	}
}

func (h *house) tellRoster() {
	r := &signal.Roster{Legs: []signal.RosterLeg{}}
	for _, l := range h.legs {
		if l.member {
			r.Legs = append(r.Legs, signal.RosterLeg{Leg: l.id, Leaf: l.leaf, Device: conclave.DeviceOf(l.device.signer.Public()), Role: conclave.RoleMember,
				Grade: conclave.GradeSealed, State: l.state, Lost: l.lost, Joined: time.Now()})
		}
	}
	slices.SortFunc(r.Legs, func(a, b signal.RosterLeg) int { return int(a.Leaf) - int(b.Leaf) })
	if h.lie.roster != nil {
		h.lie.roster(r)
	}
	h.tell(r)
}

// legOf finds a device's leg.
func (h *house) legOf(d *device) *leg {
	for _, l := range h.legs {
		if l.member && l.device == d {
			return l
		}
	}
	return nil
}

// locked runs f while the house stands still.
func (h *house) locked(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

// client is an endpoint with all that happened to it.
type client struct {
	*Endpoint
	t      *testing.T
	device *device
	cancel context.CancelFunc
	done   chan error

	mu        sync.Mutex // guards all below
	events    []Event
	keys      map[uint64][]byte // by epoch, of those not retired
	newest    uint64
	offers    int
	closed    bool
	slots     signal.Slots
	held      bool
	suspended int
	barred    []uint32
}

func (h *house) client(d *device, change ...func(*Config)) *client {
	c := &client{t: h.t, device: d, done: make(chan error, 1), keys: make(map[uint64][]byte)}
	cfg := Config{Dial: h.dial(d), Host: "house.test", Identity: Identity{Statement: d.statement, Signer: d.signer},
		Organisation: h.org.ID, Root: h.org.Root.Public().(edKey), Meeting: h.meeting.Meeting,
		Client: signal.Client{Kind: "headless", Name: "test", Version: "0"}, Media: c, Emit: c.emit}
	for _, f := range change {
		f(&cfg)
	}
	e, err := New(cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	c.Endpoint = e
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	go func() { c.done <- e.Run(ctx) }()
	return c
}

// enter runs a client until it is in.
func (h *house) in(d *device, change ...func(*Config)) *client {
	h.t.Helper()
	c := h.client(d, change...)
	c.await("in", isState(StateIn))
	return c
}

func (c *client) emit(e Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, e)
	if e.Alarm != nil {
		c.nameTheDifference(e.Alarm.Problem)
	}
	if e.State != nil && e.State.State == StateChecked {
		c.Join(nil)
	}
}

// alarmArgs are the arguments by which each alarm names the difference; all catalogues say them.
var alarmArgs = sync.OnceValues(func() (map[string][]string, error) {
	b, err := os.ReadFile("../web/src/words/codes.json")
	if err != nil {
		return nil, err
	}
	var codes struct{ Alarms map[string][]string }
	return codes.Alarms, json.Unmarshal(b, &codes)
})

// nameTheDifference fails where an alarm, whatever test raises it, has other arguments than its words.
func (c *client) nameTheDifference(p conclave.Problem) {
	args, err := alarmArgs()
	if err != nil {
		c.t.Error(err)
	}
	if !strings.HasPrefix(p.Code, "alarm_") {
		return // the problem of a paper, in its own words
	}
	want, ok := args[p.Code]
	if got := sortedKeys(p.Args); !ok || !slices.Equal(got, want) {
		c.t.Errorf("%s has the arguments %v, and its words have %v", p.Code, got, want)
	}
	for name, value := range p.Args {
		if value == "" {
			c.t.Errorf("%s has nothing for %s", p.Code, name)
		}
	}
}

func isState(s State) func(Event) bool {
	return func(e Event) bool { return e.State != nil && e.State.State == s }
}

func isAlarm(code string) func(Event) bool {
	return func(e Event) bool { return e.Alarm != nil && e.Alarm.Problem.Code == code }
}

// find returns the latest event that matches.
func (c *client) find(match func(Event) bool) (Event, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range slices.Backward(c.events) {
		if match(e) {
			return e, true
		}
	}
	return Event{}, false
}

// await waits for an event, past or to come.
func (c *client) await(what string, match func(Event) bool) Event {
	c.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		if e, ok := c.find(match); ok {
			return e
		}
		if !time.Now().Before(deadline) {
			c.t.Fatalf("%s never came to %s: %s", what, c.device.name, c.story())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// story lists the events in short.
func (c *client) story() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := ""
	for _, e := range c.events {
		s += " " + e.Kind
		switch {
		case e.State != nil:
			s += ":" + string(e.State.State)
			for _, r := range e.State.Reasons {
				s += "(" + r.Code + ")"
			}
		case e.Alarm != nil:
			s += ":" + e.Alarm.Problem.Code
		case e.Code != nil:
			s += ":" + e.Code.Why
		}
	}
	return s
}

// forget drops all events so far.
func (c *client) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = nil
}

func (c *client) code() CodeEvent {
	e, _ := c.find(func(e Event) bool { return e.Code != nil })
	if e.Code == nil {
		return CodeEvent{}
	}
	return *e.Code
}

func (c *client) roster() RosterEvent {
	e, _ := c.find(func(e Event) bool { return e.Roster != nil })
	if e.Roster == nil {
		return RosterEvent{}
	}
	return *e.Roster
}

// names lists the members as the client shows them.
func (c *client) names() []string {
	var out []string
	for _, m := range c.roster().Members {
		out = append(out, m.Name)
	}
	return out
}

// The client's Media.

func (c *client) Offer(context.Context, signal.SlotCounts, signal.Server) (signal.Media, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offers++
	return signal.Media{Ufrag: "test", Password: "a password of the client", Fingerprint: make([]byte, 32), Opus: 111, VP8: 96}, nil
}
func (c *client) Ready() {}
func (c *client) Keys(k EpochKeys) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys[k.Epoch] = k.BaseKey
	c.newest = k.Epoch
}
func (c *client) Retire(epoch uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.keys, epoch)
}
func (c *client) Slots(s signal.Slots) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slots = s
}
func (c *client) Bar(leaf uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.barred = append(c.barred, leaf)
}
func (c *client) Hold(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = on
}
func (c *client) Suspend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.keys)
	c.suspended++
}
func (c *client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	clear(c.keys)
}

// epoch returns the newest epoch and its key.
func (c *client) epoch() (uint64, []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.newest, c.keys[c.newest]
}

// stop ends the client and waits for it.
func (c *client) stop() error {
	c.cancel()
	return <-c.done
}
