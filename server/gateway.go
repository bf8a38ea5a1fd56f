package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"conclave"
	"conclave/audit"
	"conclave/identity"
	"conclave/pass"
	"conclave/server/reply"
	"conclave/signal"
)

// The server's side of the phone gateway (package signal, gateway.go): who it is, and one connection. What becomes of calls
// stands in gatewaycall.go.

const (
	// gatewayGrace is how long the calls of a gateway outlive its connection. Their legs have connections of their own; but
	// whether a call still lives, and on what line, only its gateway can say.
	gatewayGrace = 10 * time.Second
	// maxChecks bounds the codes of one gateway that are looked at or wait for it; each takes a tenth of a second.
	maxChecks = 16
)

// gateway is a gateway's connection. The goroutine that serves the request reads, one more writes (conn.write).
type gateway struct {
	*Server
	conn   *conn
	host   string
	nonce  [32]byte
	device conclave.DeviceID // zero before a good hello
	wait   sync.WaitGroup    // codes that are looked at
	checks chan struct{}     // a place each
}

// serveGateway is GET /v1/gateway.
func (s *Server) serveGateway(w http.ResponseWriter, r *http.Request) {
	s.accept(w, r, signal.GatewaySubprotocol, func(c *conn) {
		g := &gateway{Server: s, conn: c, host: r.Host, checks: make(chan struct{}, maxChecks)}
		g.serve()
		g.wait.Wait()
	})
}

// serve reads messages until the connection ends.
func (g *gateway) serve() {
	if _, err := io.ReadFull(g.cfg.Rand, g.nonce[:]); err != nil {
		return
	}
	hello := time.AfterFunc(helloDue, g.conn.kill)
	defer hello.Stop()
	g.conn.send(&signal.Challenge{Nonce: g.nonce[:], Time: g.now()})
	defer g.depart()
	for {
		m, err := g.read()
		if err != nil {
			if errors.Is(err, signal.ErrFrame) {
				g.cfg.Log.Warn("malformed frame of a gateway", "cause", err)
			}
			return
		}
		if first, ok := m.(*signal.GatewayHello); ok != (g.device == conclave.DeviceID{}) {
			return // out of turn: not a gateway of ours
		} else if ok {
			hello.Stop()
			if !g.hello(first) {
				return
			}
			continue
		}
		g.receive(m)
	}
}

// read returns the next message; pings are answered here.
func (g *gateway) read() (signal.Message, error) {
	for {
		ctx, cancel := context.WithTimeout(g.conn.ctx, silence)
		kind, frame, err := g.conn.socket.Read(ctx)
		cancel()
		if err != nil {
			return nil, err
		}
		if kind != websocket.MessageText {
			return nil, signal.ErrFrame
		}
		m, err := signal.Decode(frame, signal.FromGateway)
		if err != nil {
			return nil, err
		}
		switch m := m.(type) {
		case *signal.Ping:
			g.conn.send(&signal.Pong{N: m.N})
		case *signal.Pong:
		default:
			return m, nil
		}
	}
}

// hello finds out whether this is a gateway of ours, and takes it on.
func (g *gateway) hello(m *signal.GatewayHello) bool {
	ctx, now := g.conn.ctx, g.now()
	statement, err := pass.ParseStatement(m.Statement)
	if err != nil || statement.Kind != pass.KindGateway {
		return g.turnAway(conclave.Problem{Code: "statement_malformed", Fix: "enrol_again"})
	}
	if !g.anyHost(g.host, func(h string) bool {
		return verifyLeaf(statement.LeafKey, signal.GatewayContent(g.nonce[:], h), m.Signature)
	}) {
		return g.turnAway(problemHello)
	}
	// The statement may have run out while the gateway was away: it is known by its key, and gets a fresh one.
	if _, err := g.cfg.Organisation.Trust.Statement(m.Statement, min64(now, statement.NotAfter)); err != nil {
		return g.turnAway(problemOf(err, reply.Trouble))
	}
	known, err := g.directory.Gateway(ctx, statement.Device())
	if err != nil {
		return g.turnAway(problemOf(err, reply.Trouble))
	}
	renewed, err := g.directory.RenewGateway(ctx, known.ID, now)
	if err != nil {
		return g.turnAway(problemOf(err, reply.Trouble))
	}
	if _, err := g.audit.Record(ctx, audit.Record{Kind: audit.KindGateway, Time: now, Device: known.ID, Outcome: "admit"}); err != nil {
		return g.turnAway(reply.Trouble)
	}
	g.device = known.ID
	o := g.cfg.Organisation
	g.conn.send(&signal.GatewayReady{Organisation: o.Name, Root: o.Root, Grants: o.Grants, Statement: renewed})
	g.phones.connected(g, m.Calls, now)
	// One that was revoked since it was looked up is not kept: from here on its revocation finds it.
	if _, err := g.directory.Gateway(ctx, known.ID); err != nil {
		g.dropCalls(g.phones.revoked(known.ID))
		return g.turnAway(problemOf(err, reply.Trouble))
	}
	g.gatewaysChanged()
	g.cfg.Log.Info("phone gateway connected", "gateway", known.ID, "calls", len(m.Calls))
	return true
}

// min64 is the earlier of now and a second before the end of a statement.
func min64(now, end time.Time) time.Time {
	if end = end.Add(-time.Second); end.Before(now) {
		return end
	}
	return now
}

func (g *gateway) turnAway(why conclave.Problem) bool {
	g.cfg.Log.Warn("phone gateway turned away", "code", why.Code)
	g.conn.send(&signal.Failed{Of: "gateway_hello", Reason: why})
	g.conn.finish()
	return false
}

// depart is the end of the connection. Calls get some time to be told of again.
func (g *gateway) depart() {
	if (g.device == conclave.DeviceID{}) || !g.phones.disconnected(g, g.now()) {
		return
	}
	g.cfg.Log.Warn("phone gateway disconnected", "gateway", g.device)
	g.gatewaysChanged()
	if _, err := g.audit.Record(context.WithoutCancel(g.conn.ctx), audit.Record{Kind: audit.KindGateway, Time: g.now(), Device: g.device, Outcome: "done"}); err != nil {
		g.cfg.Log.Error("no record of a gateway that went", "cause", err)
	}
	if !g.begin() {
		return
	}
	go func() {
		defer g.Server.wait.Done()
		timer := time.NewTimer(gatewayGrace)
		defer timer.Stop()
		select {
		case <-timer.C:
			g.dropCalls(g.phones.forsaken(g.device))
		case <-g.Server.ctx.Done():
		}
	}()
}

// serveGatewayEnrol is POST /v1/gateway/enrol.
func (s *Server) serveGatewayEnrol(w http.ResponseWriter, r *http.Request) {
	if !s.limits.request(s.clientAddress(r), s.now()) {
		reply.JSON(w, http.StatusTooManyRequests, problemTooMany)
		return
	}
	var m struct {
		Token   string `json:"token"`
		LeafKey []byte `json:"leaf_key"`
		Proof   []byte `json:"proof"`
	}
	err := reply.Read(w, r, &m)
	var token identity.Token
	if err == nil {
		token, err = identity.ParseToken(m.Token)
	}
	var statement []byte
	var known identity.Gateway
	if err == nil {
		statement, known, err = s.directory.EnrolGateway(r.Context(), token, m.LeafKey, m.Proof, s.now())
	}
	if err != nil {
		s.fail(w, "enrol gateway", err)
		return
	}
	s.cfg.Log.Info("phone gateway enrolled", "gateway", known.ID)
	reply.JSON(w, http.StatusOK, s.enrolled(statement))
}

// The administrator's side.

// issueGatewayLink is POST /phone/gateways.
func (s *Server) issueGatewayLink(w http.ResponseWriter, r *http.Request) {
	var m struct {
		Name string `json:"name"`
	}
	err := reply.Read(w, r, &m)
	var token identity.Token
	if err == nil {
		token, err = s.directory.IssueGatewayToken(r.Context(), m.Name, s.cfg.Rand, s.now())
	}
	if err != nil {
		s.fail(w, "gateway link", err)
		return
	}
	reply.JSON(w, http.StatusOK, struct {
		Token    string `json:"token"`
		RootHash string `json:"root_hash"`
	}{token.Text(), s.cfg.Organisation.RootHash()})
}

// revokeGateway is POST /phone/gateways/{gateway}/revoke.
func (s *Server) revokeGateway(w http.ResponseWriter, r *http.Request) {
	var id conclave.DeviceID
	err := id.UnmarshalText([]byte(r.PathValue("gateway")))
	if err != nil {
		err = reply.Malformed
	} else {
		err = s.directory.RevokeGateway(r.Context(), id, s.now())
	}
	if err != nil {
		s.fail(w, "revoke gateway", err)
		return
	}
	s.dropCalls(s.phones.revoked(id))
	reply.JSON(w, http.StatusOK, struct{}{})
}

// issuePhoneCode is POST /phone/codes.
func (s *Server) issuePhoneCode(w http.ResponseWriter, r *http.Request) {
	var m struct {
		Person  conclave.PersonID  `json:"person"`
		Meeting conclave.MeetingID `json:"meeting"`
		Minutes int                `json:"minutes"`
	}
	err := reply.Read(w, r, &m)
	var code string
	var what identity.PhoneCode
	if err == nil {
		code, what, err = s.directory.IssuePhoneCode(r.Context(), m.Person, m.Meeting, time.Duration(m.Minutes)*time.Minute, s.cfg.Rand, s.now())
	}
	if err != nil {
		s.fail(w, "phone code", err)
		return
	}
	s.phones.changed()
	reply.JSON(w, http.StatusOK, struct {
		Code    string    `json:"code"`
		Expires time.Time `json:"expires"`
	}{code, what.Expires})
}

// revokePhoneCodes is POST /phone/codes/revoke.
func (s *Server) revokePhoneCodes(w http.ResponseWriter, r *http.Request) {
	var m struct {
		Person  conclave.PersonID  `json:"person"`
		Meeting conclave.MeetingID `json:"meeting"`
	}
	err := reply.Read(w, r, &m)
	var n int
	if err == nil {
		n, err = s.directory.RevokePhoneCodes(r.Context(), m.Person, m.Meeting, s.now())
	}
	if err != nil {
		s.fail(w, "revoke phone codes", err)
		return
	}
	s.phones.changed()
	reply.JSON(w, http.StatusOK, struct {
		Codes int `json:"codes"`
	}{n})
}
