package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"conclave"
	"conclave/admission"
	"conclave/audit"
	"conclave/identity"
	"conclave/line"
	"conclave/pass"
	"conclave/roster"
	"conclave/signal"
)

// The problems that the server itself tells of.
var (
	problemTooMany   = conclave.Problem{Code: "too_many", Fix: "wait_a_minute"}
	problemHello     = conclave.Problem{Code: "hello_signature", Fix: "use_own_link"}
	problemTurn      = conclave.Problem{Code: "out_of_turn", Fix: "join_again"}
	problemFull      = conclave.Problem{Code: "room_full", Fix: "ask_chair"}
	problemCommit    = conclave.Problem{Code: "commit_refused", Fix: "join_again"}
	problemMedia     = conclave.Problem{Code: "media_refused", Fix: "join_again"}
	problemMediaLost = conclave.Problem{Code: "media_lost", Fix: "check_network"}
	problemOver      = conclave.Problem{Code: "meeting_over", Fix: "ask_chair_for_meeting"}
)

var problemRevoked = conclave.Problem{Code: "device_revoked", Fix: "ask_administrator"}

// passLife is how long a pass lives: what the members accept at most.
const passLife = pass.MaxPassLife

// asker is who asks on a connection, as far as it has proven it.
type asker struct {
	address   netip.Addr
	transport string          // how the connection came, as proven
	encoded   []byte          // the statement, as it came
	statement *pass.Statement // what it says; believed only where found is StatementValid
	device    conclave.DeviceID
	claimed   []conclave.Fact
	client    signal.Client // claimed, and signed with the hello
	way       way           // how its signalling came
	media     mediaWay      // how its sound comes
	mark      string        // whether its mark's key is committed to: keyCommitted, keyMissing, or not known yet
	steady    *line.Steady  // shared by copies: of one goroutine at a time; nil: each look counts by itself
	nonce     [32]byte      // of its connection: what it asserts is good for no other
	asserted  bool          // it has shown a fresh assertion on this connection
	inherited bool          // or it was shown on the one before, by a member that has come back since
	certified time.Time     // until when a certificate vouches for its device, as last judged; zero: none does
	rings     bool          // by the last ruling: it may see which of the invited are not there, and have them rung
	// fingerprint is what that assertion binds its media to; nil: to nothing.
	fingerprint []byte
}

func newSteady() *line.Steady { return new(line.Steady) }

// judgement is what was found out about an asker and a meeting.
type judgement struct {
	request    admission.Request
	assessment line.Assessment
	meeting    identity.Meeting // zero if there is none
	began      time.Time        // by the machine's clock
	settles    time.Time        // when the line will have been as it is for long enough to count as mended; zero: it has
	passkey    bool             // the device has one, for a fresh assertion
	revoked    bool             // whoever asks holds a device of ours that was taken out of use
	network    string           // where it comes from, to be remembered once it is let in; "" if that is known, or cannot be
}

// judge looks everything up anew: statement, directory, meeting, line. letIn says that the chair has let this leg in.
func (s *Server) judge(ctx context.Context, a *asker, id conclave.MeetingID, letIn bool) (judgement, error) {
	now := s.now()
	j := judgement{began: time.Now()}
	_, err := s.cfg.Organisation.Trust.Statement(a.encoded, now)
	j.request.Statement = admission.StatementOf(err)
	j.request.LetIn = letIn

	// A device that was never enrolled here, or no longer, has a statement that says otherwise: it counts for nothing.
	device, err := s.directory.Device(ctx, a.device)
	j.revoked = j.request.Statement != admission.StatementInvalid && problemOf(err, conclave.Problem{}).Code == problemRevoked.Code
	kind := line.KindEndpoint
	var proven []conclave.Fact
	call, calls := s.phones.leg(a.device)
	switch known, err := identity.Found(err); {
	case err != nil:
		return j, err
	case a.statement.Kind == pass.KindPhone:
		// A call is what its gateway says that it is, as long as the gateway says so, in its one meeting.
		if !calls || call.gateway != a.statement.Gateway || call.person != a.statement.Person || call.meeting != id {
			j.request.Statement = admission.StatementInvalid
		}
		kind, proven = call.kind(), append(proven, call.facts()...)
	case !known || device.Person != a.statement.Person:
		j.request.Statement = admission.StatementInvalid
	}
	person, err := s.directory.Person(ctx, a.statement.Person)
	known, err := identity.Found(err)
	if err != nil {
		return j, err
	}
	j.request.Person = admission.Person{ID: a.statement.Person, Known: known && person.Removed == nil, Removed: person.Removed != nil, Unit: person.Unit}
	j.request.Assurance = s.directory.Assurance(&device, now)
	a.certified = s.directory.CertifiedUntil(&device, now)

	j.meeting, err = s.directory.Meeting(ctx, id)
	known, err = identity.Found(err)
	if err != nil {
		return j, err
	}
	// Who has proven nothing is told nothing, not even by the reasons that are absent.
	if j.request.Statement == admission.StatementInvalid {
		j.request.Person, j.meeting, known = admission.Person{}, identity.Meeting{}, false
	}
	if known {
		m := &j.meeting
		j.request.Meeting = admission.Meeting{ID: id, Level: m.Level, Door: admission.Door(m.Door), From: m.From, Until: m.Until, Ended: m.Ended != nil}
		j.request.Invited, j.request.Chair = m.Invited(person.ID), m.Chair == person.ID && person.ID != ""
	}
	// Whether there is such a meeting or none, a guest of another is told the same.
	if j.request.Statement != admission.StatementInvalid {
		if err := s.guest(ctx, &j, device, id); err != nil {
			return j, err
		}
	}
	who := whose{person: j.request.Person.ID}
	if j.request.Statement != admission.StatementInvalid {
		who.device, j.passkey = device, device.Passkey != nil
	}
	more, seen, err := s.facts(ctx, a, who)
	if err != nil {
		return j, err
	}
	j.network = seen
	j.assessment = line.Assess(line.Input{
		Kind:     kind,
		Enrolled: j.request.Statement == admission.StatementValid,
		Address:  a.address,
		Proven:   append(proven, more...),
		Claimed:  a.claimed,
	}, s.networks())
	if a.steady != nil {
		j.assessment.Grade, _ = a.steady.Sample(j.assessment, now)
		_, j.settles = a.steady.Settled(now)
	}
	j.request.Grade, j.request.Facts = j.assessment.Grade, j.assessment.Facts
	return j, nil
}

// quietStep is the raster of answers to outsiders. To read a meeting's entry takes longer than to find none, the longer the
// more people are invited, up to a millisecond: on the raster nobody sees that from outside.
const quietStep = 10 * time.Millisecond

// quiet waits, for who may know nothing of the meeting, until so long after the question that the answer tells nothing by
// its time.
func (v *visitor) quiet(j *judgement) {
	if j.request.Statement == admission.StatementValid && (j.request.Invited || j.request.Chair) {
		return
	}
	spent := time.Since(j.began)
	end := j.began.Add(spent - spent%quietStep + quietStep)
	// The runtime's timers wake a machine at rest by whole milliseconds from when they were set: by them alone an answer would still tell,
	// to a quarter of a millisecond, how long it took. They end early here, and the system's finer clock does the rest.
	timer := time.NewTimer(time.Until(end) - coarseTimer)
	defer timer.Stop()
	select {
	case <-timer.C:
		sleepUntil(end)
	case <-v.conn.ctx.Done():
	}
}

// coarseTimer is by how much the runtime's timers may be late: a millisecond, and as much again on a busy machine.
const coarseTimer = 2 * time.Millisecond

// transport says how a request came here, whoever else comes how: over TLS, ours or that of a proxy that we trust; from this
// machine; or in the clear.
func (s *Server) transport(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	switch {
	case r.TLS != nil, err == nil && s.cfg.Secure && s.trustsProxy(peer.Addr().Unmap()):
		return "tls"
	case err == nil && peer.Addr().Unmap().IsLoopback():
		return "this machine"
	}
	return transportPlain
}

const transportPlain = "plain"

// rule decides and records the ruling, before anybody learns of it.
func (s *Server) rule(ctx context.Context, j *judgement, id conclave.MeetingID, leg conclave.LegID, device conclave.DeviceID) (conclave.Ruling, error) {
	ruling, rec := s.ruling(s.policy(), s.now(), j, id, leg, device)
	return ruling, s.recordRuling(ctx, j, &ruling, rec)
}

// ruling decides, and returns the record of it.
func (s *Server) ruling(policy *admission.Policy, now time.Time, j *judgement, id conclave.MeetingID, leg conclave.LegID, device conclave.DeviceID) (conclave.Ruling, audit.Record) {
	ruling := policy.Rule(j.request, now)
	hash := policy.Hash()
	return ruling, audit.Record{
		Kind: audit.KindRuling, Time: now, Meeting: id, Leg: leg, Device: device, Person: j.request.Person.ID, Outcome: outcomeWord(ruling.Outcome),
		Grade: &ruling.Grade, Level: &j.request.Meeting.Level, Codes: audit.Codes(ruling.Reasons),
		// With what the ruling rested on: another policy can be held against it later (conclave policy replay).
		Facts: append(provenOnly(j.request.Facts), j.request.Fact(now)), Policy: hash[:],
	}
}

// recordRuling records what was decided.
func (s *Server) recordRuling(ctx context.Context, j *judgement, ruling *conclave.Ruling, rec audit.Record) error {
	_, err := s.audit.Record(ctx, rec)
	if err == nil {
		s.ruled(ctx, j, ruling, rec.Device)
	}
	return err
}

// ruled does what follows from a ruling that stands in the record.
func (s *Server) ruled(ctx context.Context, j *judgement, ruling *conclave.Ruling, device conclave.DeviceID) {
	if ruling.Outcome == conclave.Admit && j.network != "" {
		s.remember(ctx, device, j.network)
	}
}

func outcomeWord(o conclave.Outcome) string {
	switch o {
	case conclave.Admit:
		return "admit"
	case conclave.Wait:
		return "wait"
	}
	return "refuse"
}

// provenOnly drops what was claimed: labels of devices and the like can be personal, and prove nothing.
func provenOnly(facts []conclave.Fact) []conclave.Fact {
	return slices.DeleteFunc(slices.Clone(facts), func(f conclave.Fact) bool { return !f.Proven })
}

// askAgain lists the reasons that may be gone a moment later; for all others the connection is of no more use.
var askAgain = []string{"line_too_weak", "network_not_approved", "not_alone", "headset_radio", "mark_absent", "mark_missing", "meeting_early", "device_too_weak", "statement_expired",
	"origin_hidden", "tls_intercepted", "travel_unannounced", "risk_raised", "assertion_missing", "media_elsewhere", "door_closed"}

func mayAskAgain(reasons []conclave.Problem) bool {
	return !slices.ContainsFunc(reasons, func(p conclave.Problem) bool { return !slices.Contains(askAgain, p.Code) })
}

// checkHello verifies what a hello proves: that the one who sent it holds the key of the statement, and meant this server.
// host is how the request names us; behind a proxy that may be another name than the client's.
func (s *Server) checkHello(m *signal.Hello, nonce []byte, host string) (*pass.Statement, *conclave.Problem) {
	statement, err := pass.ParseStatement(m.Statement)
	if err != nil {
		return nil, &conclave.Problem{Code: "statement_malformed", Fix: "enrol_again"}
	}
	if s.anyHost(host, func(h string) bool {
		return verifyLeaf(statement.LeafKey, signal.HelloContent(nonce, m.Meeting, h, m.Client), m.Signature)
	}) {
		return statement, nil
	}
	return nil, &problemHello
}

// anyHost tries the names under which clients know this server, the one in the request first if it is one of them.
func (s *Server) anyHost(host string, try func(string) bool) bool {
	if s.hosts[canonicalHost(host)] && try(host) {
		return true
	}
	for _, h := range s.cfg.Hosts {
		if h != host && try(h) {
			return true
		}
	}
	return false
}

// verifyLeaf verifies a signature of a leaf key: ECDSA P-256 with SHA-256, DER.
func verifyLeaf(point, content, signature []byte) bool {
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return false
	}
	sum := sha256.Sum256(content)
	return ecdsa.VerifyASN1(key, sum[:], signature)
}

// signPass records and signs a pass from now on, which ends with the leg's statement if it does not end before: a member
// believes no pass beyond it.
func (s *Server) signPass(ctx context.Context, m pass.MeetingContext, leg *roster.Leg, grade conclave.Grade, life time.Duration) ([]byte, time.Time, error) {
	now := s.now()
	until := now.Add(life).Truncate(time.Second)
	statement, err := pass.ParseStatement(leg.Statement)
	if err != nil {
		return nil, until, err
	}
	if statement.NotAfter.Before(until) {
		until = statement.NotAfter
	}
	if _, err := s.audit.Record(ctx, audit.Record{Kind: audit.KindPass, Time: now, Meeting: m.Meeting, Leg: leg.ID, Device: leg.Device, Grade: &grade, Level: &m.Level}); err != nil {
		return nil, until, err
	}
	b, err := s.cfg.Organisation.SignPass(&pass.Pass{
		Meeting: m.Meeting, Device: leg.Device, Level: m.Level, Grade: grade, PolicyHash: m.PolicyHash, NotBefore: now, NotAfter: until,
	})
	return b, until, err
}

// clientAddress returns where a request comes from, proxies that we trust taken off.
func (s *Server) clientAddress(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	address := peer.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && s.trustsProxy(address); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		address = hop.Unmap()
	}
	return address
}

func (s *Server) trustsProxy(a netip.Addr) bool {
	return slices.ContainsFunc(s.cfg.Proxies, func(p netip.Prefix) bool { return p.Contains(a) })
}
