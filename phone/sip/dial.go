package sip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"

	"conclave/phone/sdp"
)

// What we ask of peers.

// addVia is for requests that are complete but for their Via.
func addVia(c *sipgo.Client, r *sip.Request) error { return sipgo.ClientRequestAddVia(c, r) }

// ErrForbidden means that no trunk may ring an address.
var ErrForbidden = errors.New("sip: no trunk may ring this address")

// Refusal is the answer that a call of ours was refused with.
type Refusal struct{ Code int }

// Error implements error.
func (r Refusal) Error() string { return fmt.Sprintf("sip: refused with %d", r.Code) }

// TrunkFor returns the trunk that may ring an address, which is a number in E.164 form or a SIP address; secure demands TLS.
func (s *Stack) TrunkFor(address string, secure bool) (*Trunk, error) {
	for i := range s.config.Trunks {
		t := &s.config.Trunks[i]
		if t.MayRing(address) && (!secure || t.TargetNetwork == TLS) {
			return t, nil
		}
	}
	return nil, ErrForbidden
}

// Ring rings an address and waits until somebody answers, at most as long as ctx lives; then the call is cancelled. The
// answer is Call.Offer.
func (s *Stack) Ring(ctx context.Context, t *Trunk, address string, offer []byte) (*Call, error) {
	if s.drained.Load() {
		return nil, ErrBusy
	}
	to, err := t.uri(address)
	if err != nil {
		return nil, err
	}
	contact := s.contact(t.TargetNetwork)
	if contact == nil {
		return nil, fmt.Errorf("sip: trunk %s: nothing listens on %s", t.Name, t.TargetNetwork)
	}
	c := &Call{stack: s, trunk: t, network: t.TargetNetwork, outgoing: true, called: to.User, done: make(chan struct{}),
		localTag: sip.GenerateTagN(16), source: t.Target}
	// Over TLS we have verified the name of who we dial.
	c.proven = t.TargetNetwork == TLS
	r := sip.NewRequest(sip.INVITE, to)
	user := t.User
	if user == "" {
		user = UserAgent
	}
	from := sip.FromHeader{Address: sip.Uri{Scheme: "sip", User: user, Host: contact.Address.Host}, Params: sip.NewParams()}
	from.Params.Add("tag", c.localTag)
	callID := sip.CallIDHeader(sip.GenerateTagN(24))
	hops := sip.MaxForwardsHeader(70)
	r.AppendHeader(&from)
	r.AppendHeader(&sip.ToHeader{Address: to, Params: sip.NewParams()})
	r.AppendHeader(&callID)
	r.AppendHeader(&sip.CSeqHeader{SeqNo: 1, MethodName: sip.INVITE})
	r.AppendHeader(&hops)
	r.AppendHeader(contact)
	r.AppendHeader(sip.NewHeader("Allow", allowed))
	r.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	r.SetBody(offer)
	s.direct(r, t.TargetNetwork, t.Target)
	c.invite, c.local, c.localSeq = r, &from, 1
	c.dialog = dialogKey(callID.Value(), c.localTag)
	if !s.add(c) {
		return nil, ErrBusy
	}
	defer s.wait.Done()
	if err := c.ring(ctx); err != nil {
		c.end(EndRefused)
		return nil, err
	}
	s.stats.calls.Add(1)
	return c, nil
}

// direct sends a request to a peer from the socket that we listen on.
func (s *Stack) direct(r *sip.Request, network Network, destination string) {
	r.SetTransport(strings.ToUpper(string(network)))
	r.SetDestination(destination)
	if network != UDP {
		return // the connection that the peer opened, or one of ours
	}
	for i, l := range s.config.Listeners {
		if l.Network == UDP {
			if u, ok := s.bound[i].(*net.UDPAddr); ok {
				r.Laddr = sip.Addr{IP: u.IP, Port: u.Port}
			}
		}
	}
}

// uri is what is written for an address that is rung.
func (t *Trunk) uri(address string) (sip.Uri, error) {
	var u sip.Uri
	if strings.HasPrefix(address, "+") {
		domain := t.Domain
		if domain == "" {
			domain, _, _ = net.SplitHostPort(t.Target)
		}
		return sip.Uri{Scheme: "sip", User: address, Host: domain, UriParams: sip.NewParams(), Headers: sip.NewParams()}, nil
	}
	if err := sip.ParseUri(address, &u); err != nil || u.User == "" {
		return u, ErrForbidden
	}
	return u, nil
}

// ring waits for the answer to a call of ours.
func (c *Call) ring(ctx context.Context) error {
	tx, err := c.stack.client.TransactionRequest(ctx, c.invite, addVia)
	if err != nil {
		return fmt.Errorf("sip: ring: %w", err)
	}
	defer func() { tx.Terminate() }()
	asked, ringing := false, false
	done := ctx.Done()
	var cancelled <-chan time.Time
	for {
		select {
		case <-done:
			done = nil
			if !ringing { // nothing to cancel yet (Section 9.1)
				return ctx.Err()
			}
			c.cancel()
			cancelled = time.After(4 * time.Second)
		case <-c.done: // we stop
			if ringing {
				c.cancel()
			}
			return ErrEnded
		case <-cancelled:
			return ctx.Err()
		case <-tx.Done():
			return fmt.Errorf("sip: ring: %w", errors.Join(errors.New("no answer"), tx.Err()))
		case res := <-tx.Responses():
			switch {
			case res.IsProvisional():
				ringing = true
			case res.IsSuccess():
				return c.taken(ctx, res)
			case (res.StatusCode == 401 || res.StatusCode == 407) && !asked && c.trunk.User != "" && done != nil:
				asked = true
				tx.Terminate()
				if tx, err = c.stack.client.TransactionDigestAuth(ctx, c.invite, res, sipgo.DigestAuth{Username: c.trunk.User, Password: c.trunk.Password}); err != nil {
					return fmt.Errorf("sip: ring: %w", err)
				}
				c.mu.Lock()
				c.localSeq = c.invite.CSeq().SeqNo
				c.mu.Unlock()
			case ctx.Err() != nil:
				return ctx.Err()
			default:
				return Refusal{res.StatusCode}
			}
		}
	}
}

// cancel takes a call of ours back (RFC 3261, Section 9.1).
func (c *Call) cancel() {
	r := sip.NewRequest(sip.CANCEL, c.invite.Recipient)
	for _, h := range []sip.Header{c.invite.Via(), c.invite.From(), c.invite.To(), c.invite.CallID()} {
		r.AppendHeader(sip.HeaderClone(h))
	}
	r.AppendHeader(&sip.CSeqHeader{SeqNo: c.invite.CSeq().SeqNo, MethodName: sip.CANCEL})
	hops := sip.MaxForwardsHeader(70)
	r.AppendHeader(&hops)
	c.stack.direct(r, c.network, c.source)
	r.SetBody(nil)
	c.stack.spawn(func() {
		defer func() { _ = recover() }()
		ctx, cancel := context.WithTimeout(context.Background(), byeLimit)
		defer cancel()
		_, _ = c.stack.client.Do(ctx, r, func(*sipgo.Client, *sip.Request) error { return nil })
	})
}

// taken makes the dialog of an answer, and acknowledges it.
func (c *Call) taken(ctx context.Context, res *sip.Response) error {
	to := res.To()
	if to == nil || tag(to.Params) == "" || res.Contact() == nil {
		return errors.New("sip: ring: the answer is incomplete")
	}
	answer, err := sdp.Parse(res.Body())
	c.mu.Lock()
	c.remote, c.target, c.answered, c.final, c.offer = sip.HeaderClone(to), res.Contact().Address, true, true, answer
	routes := res.GetHeaders("Record-Route")
	for i := range routes { // in reverse (Section 12.1.2)
		c.routes = append(c.routes, routes[len(routes)-1-i].Value())
	}
	if source := res.Source(); source != "" {
		c.source = source
	}
	c.mu.Unlock()
	ack := c.request(sip.ACK)
	ack.CSeq().SeqNo = c.invite.CSeq().SeqNo
	if werr := c.stack.client.WriteRequest(ack, addVia); werr != nil {
		return fmt.Errorf("sip: acknowledge: %w", werr)
	}
	if err != nil || ctx.Err() != nil {
		c.end(EndOurs) // answered, but with nothing that we understand, or too late: BYE
		return errors.Join(err, ctx.Err())
	}
	return nil
}

// registerAgain is the pause after a registration that failed; registerLeast is the least between two, whatever is granted.
const (
	registerAgain = 30 * time.Second
	registerLeast = 5 * time.Second
)

// renewAfter is when a registration that was granted for so long is renewed: with a quarter of it left.
func renewAfter(granted time.Duration) time.Duration { return max(granted*3/4, registerLeast) }

// tooBrief is a registrar's word that a registration must live longer (423; RFC 3261, Section 10.3).
type tooBrief struct{ least time.Duration }

func (e tooBrief) Error() string { return "sip: refused with 423" }

// keepRegistered registers at a trunk until ctx ends.
func (s *Stack) keepRegistered(ctx context.Context, t *Trunk) {
	every := t.RegisterEvery
	if every == 0 {
		every = 10 * time.Minute
	}
	wait := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			_, _ = s.register(leaving, t, 0)
			cancel()
			return
		case <-time.After(wait):
		}
		limited, cancel := context.WithTimeout(ctx, 10*time.Second)
		granted, err := s.register(limited, t, every)
		cancel()
		var brief tooBrief
		if errors.As(err, &brief) && brief.least > every && brief.least <= maxRegistration {
			every, wait = brief.least, 0
			continue
		}
		if err != nil {
			s.config.Log.Warn("trunk not registered", "trunk", t.Name, "cause", err)
			wait = registerAgain
			continue
		}
		wait = renewAfter(granted)
	}
}

// maxRegistration is the longest that a registrar may ask for.
const maxRegistration = 24 * time.Hour

// granted is how long a registration holds by its answer: what stands at our Contact, else Expires, else what we asked for
// (RFC 3261, Section 10.2.4). Other bindings of the same user may stand beside it.
func granted(res *sip.Response, ours *sip.ContactHeader, asked time.Duration) time.Duration {
	seconds := func(text string) (time.Duration, bool) {
		n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 31)
		return min(time.Duration(n)*time.Second, asked), err == nil && n > 0
	}
	for _, h := range res.GetHeaders("Contact") {
		c, ok := h.(*sip.ContactHeader)
		if !ok || c.Address.Host != ours.Address.Host || c.Address.Port != ours.Address.Port || c.Params == nil {
			continue
		}
		if text, ok := c.Params.Get("expires"); ok {
			if d, ok := seconds(text); ok {
				return d
			}
		}
	}
	if h := res.GetHeader("Expires"); h != nil {
		if d, ok := seconds(h.Value()); ok {
			return d
		}
	}
	return asked
}

// register registers for so long, and returns for how long the registrar holds it.
func (s *Stack) register(ctx context.Context, t *Trunk, every time.Duration) (time.Duration, error) {
	host, _, err := net.SplitHostPort(t.Target)
	if err != nil {
		return 0, fmt.Errorf("sip: register: target: %w", err)
	}
	domain := t.Domain
	if domain == "" {
		domain = host
	}
	contact := s.contact(t.TargetNetwork)
	if contact == nil {
		return 0, fmt.Errorf("sip: register: nothing listens on %s", t.TargetNetwork)
	}
	r := sip.NewRequest(sip.REGISTER, sip.Uri{Scheme: "sip", Host: domain, UriParams: sip.NewParams(), Headers: sip.NewParams()})
	us := sip.Uri{Scheme: "sip", User: t.User, Host: domain, UriParams: sip.NewParams(), Headers: sip.NewParams()}
	from := sip.FromHeader{Address: us, Params: sip.NewParams()}
	from.Params.Add("tag", sip.GenerateTagN(16))
	callID := sip.CallIDHeader(sip.GenerateTagN(24))
	hops := sip.MaxForwardsHeader(70)
	r.AppendHeader(&from)
	r.AppendHeader(&sip.ToHeader{Address: us, Params: sip.NewParams()})
	r.AppendHeader(&callID)
	r.AppendHeader(&sip.CSeqHeader{SeqNo: 1, MethodName: sip.REGISTER})
	r.AppendHeader(&hops)
	r.AppendHeader(contact)
	r.AppendHeader(sip.NewHeader("Expires", strconv.Itoa(int(every/time.Second))))
	s.direct(r, t.TargetNetwork, t.Target)
	r.SetBody(nil)
	res, err := s.client.Do(ctx, r, addVia)
	if err == nil && (res.StatusCode == 401 || res.StatusCode == 407) {
		res, err = s.client.DoDigestAuth(ctx, r, res, sipgo.DigestAuth{Username: t.User, Password: t.Password})
	}
	if err != nil {
		return 0, fmt.Errorf("sip: register: %w", err)
	}
	if h := res.GetHeader("Min-Expires"); res.StatusCode == 423 && h != nil {
		if n, err := strconv.ParseUint(strings.TrimSpace(h.Value()), 10, 31); err == nil {
			return 0, tooBrief{time.Duration(n) * time.Second}
		}
	}
	if !res.IsSuccess() {
		return 0, Refusal{res.StatusCode}
	}
	return granted(res, contact, every), nil
}

// SourceAddress is the address that a call's SIP comes from; zero if it is a name.
func (c *Call) SourceAddress() netip.Addr {
	a, err := netip.ParseAddr(c.Source())
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap()
}
