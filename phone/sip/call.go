package sip

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"conclave/phone/sdp"
)

// End says how a call came to its end.
type End uint8

// How calls end.
const (
	EndBye       End = iota + 1 // the other end hung up
	EndCancelled                // before it was answered
	EndOurs                     // we hung up, or refused
	EndNoAck                    // the other end never acknowledged our answer
	EndTimer                    // the session was not refreshed (RFC 4028)
	EndRefused                  // a call of ours was refused
	EndDrained                  // we stop
	EndUnsent                   // our answer could not be sent
)

// String returns the end in a word, for logs.
func (e End) String() string {
	switch e {
	case EndBye:
		return "bye"
	case EndCancelled:
		return "cancelled"
	case EndOurs:
		return "ours"
	case EndNoAck:
		return "no_ack"
	case EndTimer:
		return "timer"
	case EndRefused:
		return "refused"
	case EndDrained:
		return "drained"
	case EndUnsent:
		return "unsent"
	}
	return "living"
}

// The errors that a caller branches on.
var (
	ErrEnded = errors.New("sip: call has ended")
	ErrNoAck = errors.New("sip: answer was never acknowledged")
	ErrBusy  = errors.New("sip: too many calls")
	// ErrWeaker is returned by Changed for an offer that would protect the call less: it gets 488.
	ErrWeaker = errors.New("sip: offer is weaker than what is in force")
)

// Call is one call, and its dialog. Its methods may be called by any goroutine.
type Call struct {
	stack    *Stack
	trunk    *Trunk
	network  Network
	outgoing bool
	proven   bool   // the trunk showed a certificate or knew the password
	caller   string // claimed
	called   string
	source   string // where the other end's SIP comes from, host:port

	invite *sip.Request
	tx     sip.ServerTransaction // of a call that came
	offer  *sdp.Description
	dialog string // key in Stack.calls

	done chan struct{}

	mu        sync.Mutex // guards all below
	ended     End
	final     bool // a final response was sent, or came
	answered  bool
	changing  bool // an offer of theirs is looked at
	changed   func(*sdp.Description) ([]byte, error)
	acks      map[uint32]chan struct{}
	localTag  string
	remote    sip.Header // their From or To, with tag: what stands in our To
	local     sip.Header
	target    sip.Uri // their Contact
	routes    []string
	localSeq  uint32
	remoteSeq uint32
	session   *time.Timer // ends the call if the session is not refreshed
	expires   time.Duration
}

// Trunk returns the name of the trunk that the call came over, or goes.
func (c *Call) Trunk() string { return c.trunk.Name }

// Caller returns the number or name that the caller's network claims; "" if it is withheld. It is never proven, and personal:
// it must not reach a log.
func (c *Call) Caller() string { return c.caller }

// Called returns the user part of the address that was called.
func (c *Call) Called() string { return c.called }

// Offer returns the description that a call came with; of one that we made, the answer.
func (c *Call) Offer() *sdp.Description { return c.offer }

// Secure says whether the signalling of the call is TLS with a trunk that has proven who it is: by its certificate, or by its
// address and password. Only then does a key that stands in the description protect anything.
func (c *Call) Secure() bool { return c.network == TLS && c.proven }

// Source is the host that the other end's SIP comes from.
func (c *Call) Source() string {
	host, _, _ := strings.Cut(c.source, ":")
	if i := strings.LastIndex(c.source, ":"); i > 0 {
		host = strings.Trim(c.source[:i], "[]")
	}
	return host
}

// Done is closed when the call is over.
func (c *Call) Done() <-chan struct{} { return c.done }

// Ended says how the call ended; 0 while it lives.
func (c *Call) Ended() End {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// Changed sets who answers later offers of the other end (re-INVITE, UPDATE): with an answer, or an error that refuses it.
func (c *Call) Changed(f func(*sdp.Description) ([]byte, error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changed = f
}

// end marks the call as over. It says whether it was alive.
func (c *Call) end(how End) bool {
	c.mu.Lock()
	if c.ended != 0 {
		c.mu.Unlock()
		return false
	}
	c.ended = how
	answered, final := c.answered, c.final
	if c.session != nil {
		c.session.Stop()
	}
	c.mu.Unlock()
	c.stack.forget(c)
	close(c.done)
	switch how {
	case EndBye, EndCancelled, EndRefused:
	default:
		if answered {
			c.sayBye()
		} else if !final && !c.outgoing {
			c.mu.Lock()
			c.final = true
			c.mu.Unlock()
			respond(c.tx, c.response(480, "Temporarily Unavailable", nil))
		}
	}
	return true
}

// Hang ends the call from our side: BYE where it was answered.
func (c *Call) Hang() { c.end(EndOurs) }

// Progress plays early media: 183 with an answer (RFC 3261, Section 13.3.1.1).
func (c *Call) Progress(answer []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != 0 || c.final {
		return ErrEnded
	}
	return c.tx.Respond(c.response(183, "Session Progress", answer))
}

// Ringing says that somebody is asked (180).
func (c *Call) Ringing() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != 0 || c.final {
		return ErrEnded
	}
	return c.tx.Respond(c.response(180, "Ringing", nil))
}

// Refuse ends the call with a final response of 400 or more, and a reason phrase.
func (c *Call) Refuse(code int, phrase string) error {
	c.mu.Lock()
	if c.ended != 0 || c.final {
		c.mu.Unlock()
		return ErrEnded
	}
	c.final = true
	c.mu.Unlock()
	c.stack.stats.refused.Add(1)
	res := c.response(code, phrase, nil)
	if code == 503 {
		res.AppendHeader(sip.NewHeader("Retry-After", "60"))
	}
	err := c.tx.Respond(res)
	select {
	case <-c.tx.Acks():
	case <-c.tx.Done():
	case <-c.done:
	case <-time.After(2 * time.Second):
	}
	c.end(EndOurs)
	return err
}

// Answer answers the call with 200 and waits for the acknowledgement. Media may begin before it returns: some ends speak
// first and acknowledge later. A call that is never acknowledged ends with ErrNoAck, and any other error ends it too.
func (c *Call) Answer(answer []byte) error {
	if !c.stack.unacked(1) {
		c.stack.unacked(-1)
		_ = c.Refuse(503, "Service Unavailable")
		return ErrBusy
	}
	defer c.stack.unacked(-1)
	c.mu.Lock()
	if c.ended != 0 || c.final {
		c.mu.Unlock()
		return ErrEnded
	}
	c.final, c.answered = true, true
	c.mu.Unlock()
	res := c.response(200, "OK", answer)
	c.sessionTimer(c.invite, res)
	if err := c.deliver(c.tx, res, c.invite.CSeq().SeqNo); err != nil {
		c.undelivered(err)
		return err
	}
	return nil
}

// undelivered ends a call whose answer the other end does not have: nobody else would.
func (c *Call) undelivered(err error) {
	if errors.Is(err, ErrNoAck) {
		c.end(EndNoAck)
	} else {
		c.end(EndUnsent) // of one that has ended it is nothing new
	}
}

// deliver sends a 2xx again and again until it is acknowledged (RFC 3261, Section 13.3.1.4).
func (c *Call) deliver(tx sip.ServerTransaction, res *sip.Response, seq uint32) error {
	acked := make(chan struct{})
	c.mu.Lock()
	if c.acks == nil {
		c.acks = map[uint32]chan struct{}{}
	}
	c.acks[seq] = acked
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.acks, seq)
		c.mu.Unlock()
	}()
	limit := time.NewTimer(c.stack.config.Limits.AckLimit)
	defer limit.Stop()
	interval := sip.T1
	again := time.NewTimer(interval)
	defer again.Stop()
	if err := tx.Respond(res); err != nil {
		return fmt.Errorf("sip: answer: %w", err)
	}
	for {
		select {
		case <-acked:
			return nil
		case <-tx.Acks():
			return nil
		case <-c.done:
			return ErrEnded
		case <-limit.C:
			return ErrNoAck
		case <-again.C:
			_ = tx.Respond(res)
			interval = min(2*interval, sip.T2)
			again.Reset(interval)
		}
	}
}

// response is an answer to the INVITE, with our tag and contact.
func (c *Call) response(code int, phrase string, body []byte) *sip.Response {
	return c.responseTo(c.invite, code, phrase, body)
}

func (c *Call) responseTo(r *sip.Request, code int, phrase string, body []byte) *sip.Response {
	res := sip.NewResponseFromRequest(r, code, phrase, body)
	if to := res.To(); to != nil && code > 100 && c.localTag != "" {
		if to.Params == nil {
			to.Params = sip.NewParams()
		}
		to.Params.Remove("tag")
		to.Params.Add("tag", c.localTag)
	}
	if code < 300 {
		if contact := c.stack.contact(c.network); contact != nil {
			res.AppendHeader(contact)
		}
		res.AppendHeader(sip.NewHeader("Allow", allowed))
	}
	if body != nil {
		res.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	}
	return res
}

// request is a request within the dialog. It goes where the other end's own came from, whatever its Contact says: a peer
// cannot have us speak to somebody else.
func (c *Call) request(method sip.RequestMethod) *sip.Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := sip.NewRequest(method, c.target)
	r.AppendHeader(sip.HeaderClone(c.local))
	r.AppendHeader(sip.HeaderClone(c.remote))
	r.AppendHeader(sip.HeaderClone(c.invite.CallID()))
	if method != sip.ACK {
		c.localSeq++
	}
	r.AppendHeader(&sip.CSeqHeader{SeqNo: c.localSeq, MethodName: method})
	hops := sip.MaxForwardsHeader(70)
	r.AppendHeader(&hops)
	for _, route := range c.routes {
		r.AppendHeader(sip.NewHeader("Route", route))
	}
	if contact := c.stack.contact(c.network); contact != nil {
		r.AppendHeader(contact)
	}
	c.stack.direct(r, c.network, c.source)
	r.SetBody(nil)
	return r
}

// byeLimit is how long we wait for the answer to a BYE; nothing depends on it.
const byeLimit = 4 * time.Second

// sayBye sends BYE, from a goroutine of its own.
func (c *Call) sayBye() {
	bye := c.request(sip.BYE)
	c.stack.spawn(func() {
		defer func() { _ = recover() }()
		ctx, cancel := context.WithTimeout(context.Background(), byeLimit)
		defer cancel()
		_, _ = c.stack.client.Do(ctx, bye, addVia)
	})
}

// The session timer (RFC 4028): the other end refreshes, or we do where it asks for that.
const (
	minSession = 90 * time.Second
	maxSession = time.Hour
)

func sessionExpires(r interface{ GetHeader(string) sip.Header }) (d time.Duration, refresher string, ok bool) {
	h := r.GetHeader("Session-Expires")
	if h == nil {
		if h = r.GetHeader("x"); h == nil {
			return 0, "", false
		}
	}
	value, params, _ := strings.Cut(h.Value(), ";")
	n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 31)
	if err != nil {
		return 0, "", false
	}
	if _, role, found := strings.Cut(params, "refresher="); found {
		refresher = strings.TrimSpace(role)
	}
	return time.Duration(n) * time.Second, refresher, true
}

// sessionTimer takes what a request asks for into its answer, and arms it. Every offer and update refreshes the session, and one
// that asks for no timer ends the one there was (Section 9): the call is not to be cut for want of a refresh.
func (c *Call) sessionTimer(r *sip.Request, res *sip.Response) {
	d, refresher, ok := sessionExpires(r)
	if !ok {
		c.disarm()
		return
	}
	d = min(max(d, minSession), maxSession)
	if refresher != "uas" {
		refresher = "uac"
		res.AppendHeader(sip.NewHeader("Require", "timer"))
	}
	res.AppendHeader(sip.NewHeader("Session-Expires", fmt.Sprintf("%d;refresher=%s", int(d/time.Second), refresher)))
	c.arm(d, refresher == "uas")
}

// arm ends the call in time unless it is refreshed; where the refreshing is ours, it does it at half time.
func (c *Call) arm(d time.Duration, ours bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session != nil {
		c.session.Stop()
	}
	c.expires = d
	if ours {
		c.session = time.AfterFunc(d/2, c.refresh)
		return
	}
	// A third of the time before its end, as Section 10 advises, is for the refresher; we wait the whole.
	c.session = time.AfterFunc(d, func() { c.end(EndTimer) })
}

// disarm leaves the session without a timer.
func (c *Call) disarm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session != nil {
		c.session.Stop()
		c.session = nil
	}
}

func (c *Call) refresh() {
	c.mu.Lock()
	over, expires := c.ended != 0, c.expires
	c.mu.Unlock()
	if over {
		return
	}
	update := c.request(sip.UPDATE)
	update.AppendHeader(sip.NewHeader("Session-Expires", fmt.Sprintf("%d;refresher=uac", int(expires/time.Second))))
	update.AppendHeader(sip.NewHeader("Supported", "timer"))
	ctx, cancel := context.WithTimeout(context.Background(), 16*time.Second)
	defer cancel()
	res, err := c.stack.client.Do(ctx, update, addVia)
	if err != nil || res.StatusCode == 408 || res.StatusCode == 481 {
		c.end(EndTimer)
		return
	}
	c.arm(expires, true)
}
