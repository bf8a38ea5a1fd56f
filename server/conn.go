package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"conclave"
	"conclave/server/reply"
	"conclave/signal"
)

const (
	// pingEvery and silence are the protocol's (docs/protocol.md): both sides ping, and take a silence for a lost line.
	pingEvery = 2 * time.Second
	silence   = 6 * time.Second
	// A connection's queue is full when its client has read nothing for long while the room changed: it is closed, and
	// the leg resumes. 100 legs that join at once bring each member 100 commits of 25 kB.
	maxQueue      = 1024
	maxQueueBytes = 16 << 20
	// A leg sends a few messages a second; the burst is for its way in. Who sends more is ended: each costs the room work.
	messageRate  = 50
	messageBurst = 500
)

// conn is one signalling connection. Reading is done by the goroutine that serves the request, writing by one more; any
// goroutine may send.
type conn struct {
	socket    *websocket.Conn
	address   netip.Addr
	transport string // see Server.transport
	way       way
	log       *slog.Logger

	ctx    context.Context // of the connection: ends when it is over
	kill   context.CancelFunc
	out    chan []byte // nil says that the connection ends behind what is queued
	queued atomic.Int64
	ended  atomic.Bool // nothing is queued any more

	now      func() time.Time
	messages bucket // of the reading goroutine
}

// newConn returns the connection of socket; ctx is the server's life. The caller runs write, and kills the connection.
func newConn(ctx context.Context, socket *websocket.Conn, address netip.Addr, now func() time.Time, log *slog.Logger) *conn {
	c := &conn{socket: socket, address: address, log: log, out: make(chan []byte, maxQueue), now: now}
	c.ctx, c.kill = context.WithCancel(ctx)
	return c
}

var errTooMany = errors.New("server: more messages than a leg sends")

// serveSignal is GET /v1/signal.
func (s *Server) serveSignal(w http.ResponseWriter, r *http.Request) {
	s.accept(w, r, signal.Subprotocol, func(c *conn) {
		c.transport, c.way = s.transport(r), s.wayOf(r)
		newVisitor(s, c, r.Host).serve()
	})
}

// accept makes a connection of a request, for as long as serve reads from it: what serve sent last is written before the end.
func (s *Server) accept(w http.ResponseWriter, r *http.Request, subprotocol string, serve func(*conn)) {
	address := s.clientAddress(r)
	release := s.limits.connect(address, s.now())
	if release == nil {
		reply.JSON(w, http.StatusTooManyRequests, problemTooMany)
		return
	}
	defer release()
	if !s.begin() {
		reply.JSON(w, http.StatusServiceUnavailable, reply.Trouble)
		return
	}
	defer s.wait.Done()
	// The server's timeouts are for requests; from here on silence counts.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{})
	_ = control.SetWriteDeadline(time.Time{})
	socket, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols:    []string{subprotocol},
		CompressionMode: websocket.CompressionDisabled, // what is secret and what is not share frames
	})
	if err != nil {
		return // answered already
	}
	defer socket.CloseNow()
	if socket.Subprotocol() != subprotocol {
		socket.Close(websocket.StatusPolicyViolation, "speak "+subprotocol)
		return
	}
	socket.SetReadLimit(signal.MaxSmallFrame)
	c := newConn(s.ctx, socket, address, s.now, s.cfg.Log)
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.write()
	}()
	serve(c)
	c.finish()
	<-written
	c.kill()
}

// allowLarge allows the connection of a leg its large messages. Nobody else has any to send, and a thousand strangers who each
// send the beginning of one would take a gigabyte.
func (c *conn) allowLarge(leg bool) {
	if leg {
		c.socket.SetReadLimit(signal.MaxClientFrame)
	}
}

// read returns the client's next message; pings are answered here. An error ends the connection.
func (c *conn) read() (signal.Message, error) {
	for {
		ctx, cancel := context.WithTimeout(c.ctx, silence)
		kind, frame, err := c.socket.Read(ctx)
		cancel()
		if err != nil {
			return nil, err
		}
		if kind != websocket.MessageText {
			return nil, signal.ErrFrame
		}
		if !c.messages.take(messageRate, messageBurst, c.now()) {
			return nil, errTooMany
		}
		m, err := signal.Decode(frame, signal.FromClient)
		if err != nil {
			return nil, err
		}
		switch m := m.(type) {
		case *signal.Ping:
			c.send(&signal.Pong{N: m.N})
		case *signal.Pong:
		default:
			return m, nil
		}
	}
}

// send queues a message.
func (c *conn) send(m signal.Message) { c.sendFrame(signal.Encode(m)) }

// sendFrame queues an encoded message, which nobody may write to. Where the queue is full the connection is closed.
func (c *conn) sendFrame(frame []byte) {
	if c.ended.Load() {
		return
	}
	if c.queued.Add(int64(len(frame))) > maxQueueBytes {
		c.slow()
		return
	}
	select {
	case c.out <- frame:
	default:
		c.slow()
	}
}

func (c *conn) slow() {
	if c.ctx.Err() == nil {
		c.log.Warn("signalling connection closed: it does not take what it is sent", "queued_bytes", c.queued.Load())
	}
	c.kill()
}

// end tells the reason as the last message and ends the connection.
func (c *conn) end(why conclave.Problem) {
	c.send(&signal.Ended{Reason: why})
	c.finish()
}

// finish ends the connection behind what is queued.
func (c *conn) finish() {
	if c.ended.Swap(true) {
		return
	}
	select {
	case c.out <- nil:
	default:
		c.kill()
	}
}

// write sends what is queued until the connection ends.
func (c *conn) write() {
	defer c.kill() // the reader shall see the end
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	var n uint64
	for {
		var frame []byte
		select {
		case <-c.ctx.Done():
			return
		case frame = <-c.out:
			if frame == nil {
				c.socket.Close(websocket.StatusNormalClosure, "")
				return
			}
			c.queued.Add(-int64(len(frame)))
		case <-ping.C:
			n++
			frame = signal.Encode(&signal.Ping{N: n})
		}
		ctx, cancel := context.WithTimeout(c.ctx, silence)
		err := c.socket.Write(ctx, websocket.MessageText, frame)
		cancel()
		if err != nil {
			return
		}
	}
}
