package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/coder/websocket"

	"conclave"
	"conclave/phone/call"
	"conclave/phone/prompt"
	"conclave/signal"
)

// link is the connection to the server: one WebSocket, dialled again whenever it is lost.
type link struct {
	gateway *Gateway
	url     string
	host    string
	options *websocket.DialOptions

	mu      sync.Mutex // guards all below
	conn    *websocket.Conn
	nonce   []byte
	out     chan signal.Message // of conn
	waiting map[signal.CallID]chan signal.Message
}

const (
	linkPing    = 2 * time.Second
	linkSilence = 6 * time.Second
	linkAgain   = time.Second
	answerTime  = 10 * time.Second
	linkQueue   = 256
)

var errAway = errors.New("gateway: the server cannot be reached")

func newLink(g *Gateway) (*link, error) {
	u, err := url.Parse(g.config.Server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("gateway: the server's address begins with https://")
	}
	host := u.Host
	u.Path, u.RawQuery, u.Fragment = "/v1/gateway", "", ""
	return &link{gateway: g, url: u.String(), host: host, waiting: map[signal.CallID]chan signal.Message{},
		options: &websocket.DialOptions{HTTPClient: httpClient(g.config.TLS), Subprotocols: []string{signal.GatewaySubprotocol},
			CompressionMode: websocket.CompressionDisabled}}, nil
}

func httpClient(c *tls.Config) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: c},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (l *link) connected() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out != nil
}

// run keeps the connection until ctx ends.
func (l *link) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := l.once(ctx); err != nil && ctx.Err() == nil {
			l.gateway.config.Log.Warn("server lost", "cause", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(linkAgain):
		}
	}
}

// once dials, says hello, and serves the connection until it ends.
func (l *link) once(ctx context.Context) error {
	dialling, cancel := context.WithTimeout(ctx, answerTime)
	conn, _, err := websocket.Dial(dialling, l.url, l.options)
	cancel()
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	conn.SetReadLimit(signal.MaxSmallFrame)
	inner, stop := context.WithCancel(ctx)
	defer stop()
	m, err := l.read(inner, conn)
	challenge, ok := m.(*signal.Challenge)
	if err != nil || !ok {
		return errors.Join(errors.New("gateway: no challenge"), err)
	}
	statement := l.gateway.config.Key.Statement()
	signature, err := l.gateway.config.Key.signer.Sign(signal.GatewayContent(challenge.Nonce, l.host))
	if err != nil {
		return err
	}
	hello := &signal.GatewayHello{Statement: statement, Signature: signature, Version: "1", Calls: l.gateway.living()}
	if err := l.write(inner, conn, hello); err != nil {
		return err
	}
	if m, err = l.read(inner, conn); err != nil {
		return err
	}
	switch m := m.(type) {
	case *signal.GatewayReady:
		if err := l.ready(m); err != nil {
			return err
		}
	case *signal.Failed:
		return m.Reason
	default:
		return errors.New("gateway: no answer to hello")
	}
	out := make(chan signal.Message, linkQueue)
	l.mu.Lock()
	l.conn, l.nonce, l.out = conn, challenge.Nonce, out
	l.mu.Unlock()
	l.gateway.config.Log.Info("server knows this gateway")
	var writing sync.WaitGroup
	writing.Go(func() {
		defer conn.CloseNow()
		l.send(inner, conn, out)
	})
	err = l.receive(inner, conn)
	l.mu.Lock()
	l.conn, l.out = nil, nil
	for id, ch := range l.waiting {
		close(ch)
		delete(l.waiting, id)
	}
	l.mu.Unlock()
	stop()
	writing.Wait()
	return err
}

// ready takes a renewed statement, after verifying it from the pinned root down.
func (l *link) ready(m *signal.GatewayReady) error {
	if len(m.Statement) == 0 {
		return nil
	}
	k := l.gateway.config.Key
	if err := k.renew(m.Statement, m.Grants, l.gateway.config.Now()); err != nil {
		return err
	}
	if l.gateway.config.KeyFile != "" {
		return k.Save(l.gateway.config.KeyFile)
	}
	return nil
}

func (l *link) read(ctx context.Context, conn *websocket.Conn) (signal.Message, error) {
	limited, cancel := context.WithTimeout(ctx, linkSilence)
	defer cancel()
	kind, frame, err := conn.Read(limited)
	if err != nil {
		return nil, err
	}
	if kind != websocket.MessageText {
		return nil, signal.ErrFrame
	}
	return signal.Decode(frame, signal.ToGateway)
}

func (l *link) write(ctx context.Context, conn *websocket.Conn, m signal.Message) error {
	limited, cancel := context.WithTimeout(ctx, linkSilence)
	defer cancel()
	return conn.Write(limited, websocket.MessageText, signal.Encode(m))
}

// send writes what is queued, and pings.
func (l *link) send(ctx context.Context, conn *websocket.Conn, out <-chan signal.Message) {
	ping := time.NewTicker(linkPing)
	defer ping.Stop()
	var n uint64
	for {
		var m signal.Message
		select {
		case <-ctx.Done():
			return
		case m = <-out:
		case <-ping.C:
			n++
			m = &signal.Ping{N: n}
		}
		if l.write(ctx, conn, m) != nil {
			return
		}
	}
}

// receive serves the connection.
func (l *link) receive(ctx context.Context, conn *websocket.Conn) error {
	for {
		m, err := l.read(ctx, conn)
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *signal.Ping:
			l.tell(&signal.Pong{N: m.N})
		case *signal.CallScreened:
			l.answer(m.Call, m)
		case *signal.CallAnswer:
			l.answer(m.Call, m)
		case *signal.RingOut:
			g := l.gateway
			g.wait.Go(func() { g.ring(g.life, m) })
		case *signal.CallEnd:
			if leg := l.gateway.find(m.Call); leg != nil {
				leg.tell(call.Room{What: roomEvent(m.Reason)})
			}
		}
	}
}

func (l *link) answer(id signal.CallID, m signal.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ch := l.waiting[id]; ch != nil {
		delete(l.waiting, id)
		ch <- m // it has a place
	}
}

// tell queues a message; without a connection it is dropped: what a call still needs the server to know it is asked anew.
func (l *link) tell(m signal.Message) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.out == nil {
		return false
	}
	select {
	case l.out <- m:
		return true
	default:
		l.conn.CloseNow() // the server takes nothing: dial again
		return false
	}
}

// ask sends a message of a call and waits for its answer.
func (l *link) ask(ctx context.Context, id signal.CallID, m signal.Message) (signal.Message, error) {
	ch := make(chan signal.Message, 1)
	l.mu.Lock()
	if l.waiting[id] != nil {
		l.mu.Unlock()
		return nil, errors.New("gateway: two questions of one call")
	}
	l.waiting[id] = ch
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		if l.waiting[id] == ch {
			delete(l.waiting, id)
		}
		l.mu.Unlock()
	}()
	if !l.tell(m) {
		return nil, errAway
	}
	limited, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	select {
	case m, ok := <-ch:
		if !ok {
			return nil, errAway
		}
		return m, nil
	case <-limited.Done():
		return nil, limited.Err()
	}
}

// proof signs that a call's key is held by whoever brings it on this connection.
func (l *link) proof(id signal.CallID, sign func([]byte) ([]byte, error)) ([]byte, error) {
	l.mu.Lock()
	nonce := l.nonce
	l.mu.Unlock()
	return sign(signal.CallContent(nonce, id))
}

// screen asks what may become of a call that came.
func (l *link) screen(ctx context.Context, g *leg) call.Event {
	m, err := l.ask(ctx, g.id, &signal.CallCame{Call: g.id, Line: g.line, Caller: clip(g.sip.Caller(), 128), Trunk: g.sip.Trunk()})
	s, ok := m.(*signal.CallScreened)
	if err != nil || !ok {
		return call.Screened{Why: prompt.Failed}
	}
	if s.Ask {
		return call.Screened{Ask: true}
	}
	why := prompt.Unknown
	for _, r := range s.Reasons {
		switch r.Code {
		case "too_many":
			why = prompt.Full
		case "server_trouble":
			why = prompt.Failed
		}
	}
	return call.Screened{Why: why}
}

func clip(s string, n int) string { return s[:min(len(s), n)] }

// roomEvent is what an end or a refusal of a leg means for the call.
func roomEvent(why conclave.Problem) call.RoomEvent {
	switch why.Code {
	case "meeting_over":
		return call.RoomOver
	case "door_declined":
		return call.RoomDeclined
	case "removed_wrong_meeting", "removed_not_cleared", "removed_disturbs", "removed_other", "replaced":
		return call.RoomRemoved
	case "line_too_weak", "phone_not_allowed", "device_too_weak", "network_not_approved":
		return call.RoomRaised
	}
	return call.RoomFailed
}
