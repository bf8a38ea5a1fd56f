package server

import (
	"bytes"
	"context"
	"encoding/json"

	"conclave"
	"conclave/admission"
	"conclave/audit"
	"conclave/identity"
	"conclave/roster"
	"conclave/server/reply"
	"conclave/signal"
)

// A copied browser profile can sign with a key that "cannot be taken out". So where a level asks for it, a join brings a
// fresh touch of the device's passkey, over the leaf key, the meeting, this connection, and the certificates of both ends of
// the media path: the copy has no passkey, and what it might relay is good for no other path.

// assertionWanted returns what a client needs for a fresh assertion, nil where it would change nothing: because none stands
// in the way of joining, or because the device has no passkey.
func (s *Server) assertionWanted(ctx context.Context, a *asker, j *judgement) (*signal.AssertionWanted, error) {
	if a.asserted || !s.policy().NeedsAssertion(j.request, s.now()) {
		return nil, nil
	}
	device, err := s.directory.Device(ctx, a.device)
	known, err := identity.Found(err)
	if err != nil || !known || device.Passkey == nil || j.request.Statement != admission.StatementValid {
		return nil, err
	}
	fingerprint := s.cfg.Media.Fingerprint()
	return &signal.AssertionWanted{Nonce: a.nonce[:], ServerFingerprint: fingerprint[:], Credentials: [][]byte{device.Passkey.ID}}, nil
}

// assertion verifies the assertion that a Join brings, if it brings one, and has the asker be bound to its fingerprint: of
// no other certificate may its media be. It returns what to tell the person where it does not hold.
func (v *visitor) assertion(ctx context.Context, m *signal.Join) (*conclave.Problem, error) {
	if len(m.Assertion) == 0 {
		return nil, nil
	}
	if len(m.Fingerprint) != 32 || !json.Valid(m.Assertion) {
		return &reply.Malformed, nil
	}
	server := v.cfg.Media.Fingerprint()
	var err error
	tried := false
	v.anyHost(v.host, func(host string) bool {
		content := signal.AssertionContent(v.nonce[:], v.asker.statement.LeafKey, v.meeting, m.Fingerprint, server[:], host)
		challenge := signal.TouchOf(content)
		of := v.directory.Assert(ctx, v.asker.device, m.Assertion, challenge[:], v.siteOf(host))
		// A touch over another of our names has another challenge and site; everything else is the answer.
		code := problemOf(of, reply.Trouble).Code
		other := of != nil && (code == "passkey_stale" || code == "passkey_site")
		if !tried || !other {
			err, tried = of, true
		}
		return !other
	})
	known, err2 := identity.Found(err)
	if err2 != nil {
		return nil, err2
	}
	if !known {
		p := problemOf(err, reply.Trouble)
		return &p, nil
	}
	v.asker.asserted, v.asker.fingerprint = true, bytes.Clone(m.Fingerprint)
	return nil, nil
}

// notAsserted records that an assertion did not hold: who has the device may not be the one whom it was given to.
func (v *visitor) notAsserted(ctx context.Context, p conclave.Problem) error {
	_, err := v.audit.Record(ctx, audit.Record{Kind: audit.KindAssertion, Time: v.now(), Meeting: v.meeting, Leg: v.leg, Device: v.asker.device,
		Outcome: outcomeWord(conclave.Refuse), Codes: []string{p.Code}})
	return err
}

// mayHave says whether media of this certificate may be the asker's: any, unless an assertion has named one.
func (a *asker) mayHave(fingerprint []byte) bool {
	return a.fingerprint == nil || bytes.Equal(a.fingerprint, fingerprint)
}

// touched notes what the assertion of a leg binds it to, for as long as its place is kept.
func (r *room) touched(id conclave.LegID, a *asker) {
	if !a.asserted {
		return
	}
	if r.bound == nil {
		r.bound = map[conclave.LegID][]byte{}
	}
	r.bound[id] = a.fingerprint
}

// inherit has a member who comes back be bound to what it was bound to: media of another certificate are refused still, and a
// copy that comes back in its stead has no keys. One who is let in anew is given keys: that takes a touch of its own.
func (r *room) inherit(leg roster.Leg, a *asker) {
	if fingerprint := r.bound[leg.ID]; fingerprint != nil && !a.asserted && leg.Standing == roster.Member {
		a.asserted, a.inherited, a.fingerprint = true, true, fingerprint
	}
}

// disinherit ends that for a leg that has lost its keys.
func (r *room) disinherit(id conclave.LegID) {
	for _, a := range []*asker{r.away[id], r.askerAt(id)} {
		if a != nil && a.inherited {
			a.asserted, a.inherited, a.fingerprint = false, false, nil
		}
	}
	delete(r.bound, id)
}

// askerAt returns who has the leg's connection, nil if it has none.
func (r *room) askerAt(id conclave.LegID) *asker {
	if s := r.seats[id]; s != nil {
		return &s.asker
	}
	return nil
}

// askAnew has a leg at the door or in quarantine show a fresh assertion, if its Join brings one, before it is ruled anew.
func (v *visitor) askAnew(ctx context.Context, m *signal.Join) error {
	if !v.joins.take(joinsPerMinute/60.0, joinsPerMinute, v.now()) {
		v.conn.send(&signal.Failed{Of: m.Type(), Reason: problemTooMany})
		return nil
	}
	problem, err := v.assertion(ctx, m)
	if err != nil {
		return err
	}
	if problem != nil {
		if err := v.notAsserted(ctx, *problem); err != nil {
			return err
		}
		v.conn.send(&signal.Failed{Of: m.Type(), Reason: *problem})
		return nil
	}
	room, leg, asked := v.room, v.leg, *v.asker
	room.post(func() {
		// Only of one without a media path: a path that stands has a certificate that nobody touched for.
		now, _ := room.roster.Leg(leg)
		outside := now.Standing == roster.Quarantined || now.Standing == roster.Waiting
		if seat := room.seats[leg]; outside && seat != nil && seat.conn == v.conn && asked.asserted {
			seat.asker.asserted, seat.asker.fingerprint = true, asked.fingerprint
			room.touched(leg, &seat.asker)
		}
		room.receive(leg, v.conn, m)
	})
	return nil
}
