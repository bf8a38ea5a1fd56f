package server_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"

	"conclave"
	"conclave/server/servertest"
	"conclave/signal"
)

// raw is a client that speaks signalling by hand, and says what it likes.
type raw struct {
	t      testing.TB
	w      *servertest.World
	socket *websocket.Conn
	nonce  []byte
}

func dialRaw(w *servertest.World) (*websocket.Conn, error) { return dialFrom(w, "") }

// dialFrom dials with keys that are agreed on in these ways, as a proxy does for an address.
func dialFrom(w *servertest.World, from string, curves ...tls.CurveID) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	options := &websocket.DialOptions{Subprotocols: []string{signal.Subprotocol}, HTTPHeader: http.Header{}}
	if w.Roots != nil {
		options.HTTPClient = w.Client(curves...)
	}
	if from != "" {
		options.HTTPHeader.Set("X-Forwarded-For", from)
	}
	c, _, err := websocket.Dial(ctx, w.URL+"/v1/signal", options)
	return c, err
}

func connect(t testing.TB, w *servertest.World) *raw {
	t.Helper()
	return connectFrom(t, w, "")
}

func connectFrom(t testing.TB, w *servertest.World, from string, curves ...tls.CurveID) *raw {
	t.Helper()
	c, err := dialFrom(w, from, curves...)
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(signal.MaxServerFrame)
	t.Cleanup(func() { c.CloseNow() })
	r := &raw{t: t, w: w, socket: c}
	r.nonce = expect[*signal.Challenge](r).Nonce
	return r
}

func (r *raw) write(frame string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := r.socket.Write(ctx, websocket.MessageText, []byte(frame)); err != nil {
		r.t.Logf("write: %v", err)
	}
}

func (r *raw) send(m signal.Message) { r.t.Helper(); r.write(string(signal.Encode(m))) }

// next returns the next message that is no ping, nil when the connection is over.
func (r *raw) next() signal.Message {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	defer cancel()
	for {
		_, frame, err := r.socket.Read(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			r.t.Fatal("nothing came")
		}
		if err != nil {
			return nil
		}
		m, err := signal.Decode(frame, signal.FromServer)
		if err != nil {
			r.t.Fatal(err)
		}
		if _, ok := m.(*signal.Ping); !ok {
			return m
		}
	}
}

// expect returns the next message of a type; others that come before are dropped.
func expect[M signal.Message](r *raw) M {
	r.t.Helper()
	for {
		switch m := r.next().(type) {
		case M:
			return m
		case nil:
			var want M
			r.t.Fatalf("the connection ended, want %T", want)
		}
	}
}

// closed waits until the server ends the connection.
func (r *raw) closed() {
	r.t.Helper()
	for r.next() != nil {
	}
}

func (r *raw) hello(d *servertest.Device, m conclave.MeetingID) {
	r.t.Helper()
	r.send(&signal.Hello{Meeting: m, Statement: d.Statement, Signature: d.Sign(signal.HelloContent(r.nonce, m, r.w.Host, signal.Client{Kind: "headless"})), Client: signal.Client{Kind: "headless"}})
}

// admitted comes as far as a pass.
func (r *raw) admitted(d *servertest.Device, m conclave.MeetingID) *signal.Admitted {
	r.t.Helper()
	r.hello(d, m)
	expect[*signal.Line](r)
	r.send(&signal.Join{})
	return expect[*signal.Admitted](r)
}
