package server

import (
	"conclave"
	"conclave/pass"
	"conclave/roster"
	"conclave/signal"
)

// rosterMessage lists whose leaf is in the tree, those on their way out among them: they are seen until their keys are void.
func (r *room) rosterMessage(chair bool) *signal.Roster {
	m := &signal.Roster{Legs: []signal.RosterLeg{}, Closed: r.closed}
	for _, l := range r.roster.Legs() {
		if l.InTree {
			m.Legs = append(m.Legs, rosterLeg(&l))
		}
		switch {
		case l.Standing == roster.Quarantined && l.Seen:
			m.Away = append(m.Away, signal.Away{Leg: l.ID, Statement: l.Statement, Reasons: bare(l.Reasons), Since: l.Since,
				Exceptable: r.exceptable[l.ID]})
		case chair && (l.Standing == roster.Waiting || l.Standing == roster.Quarantined):
			m.Waiting = append(m.Waiting, signal.AtDoor{Leg: l.ID, Statement: l.Statement, Grade: l.Grade, Facts: l.Facts,
				Since: l.Since, Reasons: l.Reasons, Known: known(&l), Early: l.Early,
				Exceptable: r.exceptable[l.ID]})
		}
	}
	if p := r.roster.Paused(); p != nil {
		m.Paused = &signal.Paused{Since: p.Since, Open: r.roster.PauseOpen(r.now())}
		if by := p.By; by != (conclave.LegID{}) {
			m.Paused.By = &by
		}
	}
	m.Hushed, m.Shut, m.Offered = act(r.roster.Hushed()), act(r.roster.Shut()), act(r.roster.Offered())
	for _, e := range r.roster.Exceptions() {
		leg, ok := r.roster.Leg(e.Leg)
		if !ok {
			continue
		}
		one := signal.Exception{ID: e.ID, Leg: e.Leg, Statement: leg.Statement, Waives: bare(e.Waives), Reason: e.Reason, By: e.By, Until: e.Until}
		if e.Confirmed() {
			second := e.Second
			one.Second = &second
		}
		m.Exceptions = append(m.Exceptions, one)
	}
	return m
}

func act(a *roster.Act) *signal.Act {
	if a == nil {
		return nil
	}
	return &signal.Act{Since: a.Since, By: a.By, To: a.To}
}

func rosterLeg(l *roster.Leg) signal.RosterLeg {
	one := signal.RosterLeg{
		Leg: l.ID, Leaf: uint32(l.Leaf), Device: l.Device, Role: l.Role, Grade: l.Grade, Joined: l.Since, Line: lineShown(l.Facts),
		State: signal.State{Muted: l.Shown.Muted, Camera: l.Shown.Camera, Screen: l.Shown.Screen, Hand: l.Shown.Hand},
	}
	if !l.Lost.IsZero() {
		lost := l.Lost
		one.Lost = &lost
	}
	return one
}

// shown are the proven facts of a line that everybody in the room may know of everybody.
var shown = []string{"kind", "network", "operator", "phone_line", "travel"}

func lineShown(facts []conclave.Fact) []conclave.Fact {
	var out []conclave.Fact
	for _, name := range shown {
		for _, f := range facts {
			if f.Name == name && f.Proven {
				out = append(out, f)
			}
		}
	}
	return out
}

// bare leaves arguments out: they can be personal, and the room needs to know no more than what kind of reason it is.
func bare(problems []conclave.Problem) []conclave.Problem {
	out := make([]conclave.Problem, len(problems))
	for i, p := range problems {
		out[i] = conclave.Problem{Code: p.Code, Fix: p.Fix}
	}
	return out
}

// known says whether who asks stands in the directory: not a guest, who came by an invitation.
func known(l *roster.Leg) bool {
	st, err := pass.ParseStatement(l.Statement)
	return err == nil && st.Kind == pass.KindDevice
}
