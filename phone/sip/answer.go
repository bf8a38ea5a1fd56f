package sip

import (
	"context"
	"net/netip"
	"strings"

	"github.com/emiago/sipgo/sip"

	"conclave/phone/sdp"
)

// What peers ask of us.

// invite takes a call, or a change of one.
func (s *Stack) invite(trunk *Trunk, r *sip.Request, tx sip.ServerTransaction) {
	if tag(r.To().Params) != "" {
		s.reinvite(trunk, r, tx)
		return
	}
	refuse := func(code int, phrase string, headers ...sip.Header) {
		s.stats.refused.Add(1)
		res := sip.NewResponseFromRequest(r, code, phrase, nil)
		for _, h := range headers {
			res.AppendHeader(h)
		}
		respond(tx, res)
	}
	source, _ := netip.ParseAddrPort(r.Source())
	if s.drained.Load() || !s.limits.invite(source.Addr().Unmap(), s.config.Now()) {
		refuse(503, "Service Unavailable", sip.NewHeader("Retry-After", "60"))
		return
	}
	if h := r.GetHeader("Require"); h != nil {
		for _, option := range strings.Split(h.Value(), ",") {
			if option = strings.TrimSpace(option); option != "timer" {
				refuse(420, "Bad Extension", sip.NewHeader("Unsupported", option)) // 100rel above all
				return
			}
		}
	}
	if d, _, ok := sessionExpires(r); ok && d < minSession {
		refuse(422, "Session Interval Too Small", sip.NewHeader("Min-SE", "90"))
		return
	}
	proven := len(trunk.Certificates) > 0 // trunkOf saw it
	if trunk.User != "" {
		if !s.auth.check(trunk, r, s.config.Now()) {
			s.auth.challenge(trunk, r, tx, s.config.Now())
			return
		}
		proven = true
	}
	if r.Contact() == nil {
		refuse(400, "Bad Request")
		return
	}
	offer, err := sdp.Parse(r.Body())
	if err != nil {
		refuse(488, "Not Acceptable Here") // a call without an offer too: what protects it must be known before it is answered
		return
	}
	c := &Call{stack: s, trunk: trunk, network: networkOf(r.Transport()), proven: proven, caller: claimed(r), called: r.Recipient.User,
		source: r.Source(), invite: r.Clone(), tx: tx, offer: offer, done: make(chan struct{}), localTag: sip.GenerateTagN(16)}
	c.begin()
	if !s.add(c) {
		refuse(503, "Service Unavailable", sip.NewHeader("Retry-After", "60"))
		return
	}
	defer s.wait.Done()
	if !tx.OnCancel(func(*sip.Request) { c.end(EndCancelled) }) || !tx.OnTerminate(func(string, error) { go c.gone() }) {
		c.end(EndCancelled)
		return
	}
	s.stats.calls.Add(1)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer c.end(EndOurs)
	s.config.Incoming(ctx, c)
}

// gone ends a call whose INVITE died before it was answered: its connection closed.
func (c *Call) gone() {
	c.mu.Lock()
	waiting := !c.final
	c.mu.Unlock()
	if waiting {
		c.end(EndCancelled)
	}
}

// begin fills in the dialog of a call that came (RFC 3261, Section 12.1.1).
func (c *Call) begin() {
	from, to := c.invite.From(), c.invite.To()
	local := sip.FromHeader{DisplayName: to.DisplayName, Address: to.Address, Params: sip.NewParams()}
	local.Params.Add("tag", c.localTag)
	c.local = &local
	remote := sip.ToHeader{DisplayName: from.DisplayName, Address: from.Address, Params: from.Params}
	c.remote = &remote
	c.target = c.invite.Contact().Address
	for _, h := range c.invite.GetHeaders("Record-Route") {
		c.routes = append(c.routes, h.Value())
	}
	c.remoteSeq = c.invite.CSeq().SeqNo
	c.localSeq = 1
	c.dialog = dialogKey(c.invite.CallID().Value(), c.localTag)
}

func dialogKey(callID, localTag string) string { return callID + "\x00" + localTag }

func tag(p sip.HeaderParams) string {
	t, _ := p.Get("tag")
	return t
}

// claimed is the caller's number as its network says: P-Asserted-Identity, else From; "" where it is withheld.
func claimed(r *sip.Request) string {
	if h := r.GetHeader("Privacy"); h != nil && strings.Contains(h.Value(), "id") {
		return ""
	}
	var u sip.Uri
	if h := r.GetHeader("P-Asserted-Identity"); h != nil {
		text := strings.Trim(h.Value(), "<> ")
		if i := strings.Index(text, "<"); i >= 0 {
			text, _, _ = strings.Cut(text[i+1:], ">")
		}
		if len(text) <= 256 && sip.ParseUri(text, &u) == nil && u.User != "" {
			return clip(u.User)
		}
	}
	if u = r.From().Address; strings.EqualFold(u.User, "anonymous") {
		return ""
	}
	return clip(u.User)
}

// clip leaves what a number or a user's name is written in: the caller's network may let through anything, and a zero octet
// is one that the server ends a gateway's connection for.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s[:min(len(s), 256)])
	return s[:min(len(s), 64)]
}

// dialogOf returns the call that a request names, by its dialog's three parts.
func (s *Stack) dialogOf(r *sip.Request) *Call {
	s.mu.Lock()
	c := s.calls[dialogKey(r.CallID().Value(), tag(r.To().Params))]
	s.mu.Unlock()
	if c == nil || tag(r.From().Params) != c.remoteTag() {
		return nil
	}
	return c
}

// find returns the call of a request within a dialog: it must be the same trunk's, and what stands in a call over TLS is only
// heard over TLS. Within a call nobody is asked for a password: its tags prove that the sender saw it begin, so they must
// not have crossed the network in the clear.
func (s *Stack) find(trunk *Trunk, r *sip.Request) *Call {
	c := s.dialogOf(r)
	if c == nil || c.trunk != trunk || c.network == TLS && networkOf(r.Transport()) != TLS {
		return nil
	}
	return c
}

// peer is where the other end's SIP comes from.
func (c *Call) peer() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.source
}

func (c *Call) remoteTag() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h, ok := c.remote.(*sip.ToHeader); ok {
		return tag(h.Params)
	}
	return ""
}

// advance takes a request's sequence number, or says that it is old.
func (c *Call) advance(r *sip.Request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if seq := r.CSeq().SeqNo; seq > c.remoteSeq {
		c.remoteSeq = seq
		return true
	}
	return false
}

func (s *Stack) add(c *Call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.calls) >= s.config.Limits.Calls || s.calls[c.dialog] != nil || s.closing || s.drained.Load() {
		return false
	}
	if most := c.trunk.Calls; most > 0 && !c.outgoing {
		n := 0
		for _, other := range s.calls {
			if other.trunk == c.trunk && !other.outgoing {
				n++
			}
		}
		if n >= most {
			return false
		}
	}
	s.calls[c.dialog] = c
	s.wait.Add(1)
	return true
}

func (s *Stack) forget(c *Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls[c.dialog] == c {
		delete(s.calls, c.dialog)
	}
}

// unacked counts answered calls that wait for their acknowledgement.
func (s *Stack) unacked(n int) bool {
	s.limits.mu.Lock()
	defer s.limits.mu.Unlock()
	s.limits.waiting += n
	return s.limits.waiting <= s.config.Limits.Unacked
}

func (s *Stack) ack(trunk *Trunk, r *sip.Request, _ sip.ServerTransaction) {
	c := s.find(trunk, r)
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch := c.acks[r.CSeq().SeqNo]; ch != nil {
		delete(c.acks, r.CSeq().SeqNo)
		close(ch)
	}
}

func (s *Stack) bye(trunk *Trunk, r *sip.Request, tx sip.ServerTransaction) {
	c := s.find(trunk, r)
	if c == nil || !c.advance(r) {
		respond(tx, sip.NewResponseFromRequest(r, 481, "Call/Transaction Does Not Exist", nil))
		return
	}
	respond(tx, sip.NewResponseFromRequest(r, 200, "OK", nil))
	c.end(EndBye)
}

func (s *Stack) options(_ *Trunk, r *sip.Request, tx sip.ServerTransaction) {
	code, phrase := 200, "OK"
	if s.drained.Load() {
		code, phrase = 503, "Service Unavailable"
	}
	res := sip.NewResponseFromRequest(r, code, phrase, nil)
	res.AppendHeader(sip.NewHeader("Allow", allowed))
	res.AppendHeader(sip.NewHeader("Accept", "application/sdp"))
	respond(tx, res)
}

// reinvite answers an offer within a call.
func (s *Stack) reinvite(trunk *Trunk, r *sip.Request, tx sip.ServerTransaction) {
	c := s.find(trunk, r)
	if c == nil {
		respond(tx, sip.NewResponseFromRequest(r, 481, "Call/Transaction Does Not Exist", nil))
		return
	}
	res := c.change(r)
	if res.StatusCode != 200 {
		respond(tx, res)
		return
	}
	c.sessionTimer(r, res)
	if err := c.deliver(tx, res, r.CSeq().SeqNo); err != nil {
		c.undelivered(err)
	}
}

func (s *Stack) update(trunk *Trunk, r *sip.Request, tx sip.ServerTransaction) {
	c := s.find(trunk, r)
	if c == nil {
		respond(tx, sip.NewResponseFromRequest(r, 481, "Call/Transaction Does Not Exist", nil))
		return
	}
	res := c.change(r)
	if res.StatusCode == 200 {
		c.sessionTimer(r, res)
	}
	respond(tx, res)
}

// change answers an offer within the call, one at a time (RFC 3261, Section 14.2; RFC 3311, Section 5.2).
func (c *Call) change(r *sip.Request) *sip.Response {
	no := func(code int, phrase string) *sip.Response { return c.responseTo(r, code, phrase, nil) }
	if !c.advance(r) {
		return no(500, "Server Internal Error")
	}
	c.mu.Lock()
	busy, changed, answered := c.changing, c.changed, c.answered
	c.changing = true
	if h := r.Contact(); h != nil {
		c.target = h.Address
	}
	c.mu.Unlock()
	if busy {
		return no(491, "Request Pending")
	}
	defer func() {
		c.mu.Lock()
		c.changing = false
		c.mu.Unlock()
	}()
	if len(r.Body()) == 0 {
		if r.IsInvite() {
			return no(488, "Not Acceptable Here") // we make no offers within a call
		}
		return no(200, "OK") // a refresh
	}
	if !answered || changed == nil {
		return no(491, "Request Pending")
	}
	offer, err := sdp.Parse(r.Body())
	if err != nil {
		return no(488, "Not Acceptable Here")
	}
	answer, err := changed(offer)
	if err != nil {
		return no(488, "Not Acceptable Here")
	}
	return c.responseTo(r, 200, "OK", answer)
}
