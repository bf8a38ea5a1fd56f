package server_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/coder/websocket"

	"conclave"
	"conclave/audit"
	"conclave/identity"
	"conclave/server/servertest"
	"conclave/signal"
)

// rawGateway is an enrolled gateway that speaks by hand, and says what it likes.
type rawGateway struct {
	t      testing.TB
	w      *servertest.World
	key    *servertest.Device
	socket *websocket.Conn
	nonce  []byte
}

func enrolGateway(t testing.TB, w *servertest.World) *servertest.Device {
	t.Helper()
	ctx := context.Background()
	d := w.NewDevice()
	token, err := w.Server.Directory().IssueGatewayToken(ctx, "Gateway", rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if d.Statement, _, err = w.Server.Directory().EnrolGateway(ctx, token, d.Point, d.Sign(signal.GatewayEnrolContent(token.Text())), time.Now()); err != nil {
		t.Fatal(err)
	}
	return d
}

// connectGateway connects with an enrolled key and is told that it is known.
func connectGateway(t testing.TB, w *servertest.World, key *servertest.Device, living ...signal.CallID) *rawGateway {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, w.URL+"/v1/gateway", &websocket.DialOptions{Subprotocols: []string{signal.GatewaySubprotocol}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	g := &rawGateway{t: t, w: w, key: key, socket: c}
	g.nonce = told[*signal.Challenge](g).Nonce
	g.send(&signal.GatewayHello{Statement: key.Statement, Signature: key.Sign(signal.GatewayContent(g.nonce, w.Host)), Version: "1", Calls: living})
	told[*signal.GatewayReady](g)
	return g
}

func (g *rawGateway) send(m signal.Message) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := g.socket.Write(ctx, websocket.MessageText, signal.Encode(m)); err != nil {
		g.t.Fatal(err)
	}
}

// living has the gateway say that it lives until the test ends.
func (g *rawGateway) living() *rawGateway {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := uint64(1); g.socket.Write(ctx, websocket.MessageText, signal.Encode(&signal.Ping{N: n})) == nil; n++ {
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}()
	g.t.Cleanup(func() { cancel(); <-done })
	return g
}

// told returns the next message of a type; pings are left out, and nothing else may come before it.
func told[M signal.Message](g *rawGateway) M {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		_, frame, err := g.socket.Read(ctx)
		if err != nil {
			g.t.Fatalf("want %T: %v", *new(M), err)
		}
		m, err := signal.Decode(frame, signal.ToGateway)
		if err != nil {
			g.t.Fatal(err)
		}
		switch m := m.(type) {
		case M:
			return m
		case *signal.Ping, *signal.Pong:
		default:
			g.t.Fatalf("%T came, want %T", m, *new(M))
		}
	}
}

// came tells of a call and returns what the server says.
func (g *rawGateway) came(id signal.CallID, l signal.PhoneLine) *signal.CallScreened {
	g.t.Helper()
	g.send(&signal.CallCame{Call: id, Line: l, Caller: "+4930111", Trunk: "pbx"})
	return told[*signal.CallScreened](g)
}

// code brings a code with a fresh key; proof is over whatever nonce.
func (g *rawGateway) code(id signal.CallID, code string, nonce []byte) *signal.CallAnswer {
	g.t.Helper()
	d := g.w.NewDevice()
	g.send(&signal.CallCode{Call: id, Code: code, LeafKey: d.Point, Proof: d.Sign(signal.CallContent(nonce, id))})
	return told[*signal.CallAnswer](g)
}

// phoneWorld is a server with a meeting of a level to which Bert is invited, and his code.
func phoneWorld(t testing.TB, level conclave.Level) (w *servertest.World, meeting conclave.MeetingID, code string) {
	t.Helper()
	w = servertest.Start(t)
	w.AddPerson("anna", "Anna Weber")
	if err := w.Server.Directory().AddPerson(context.Background(), identity.Person{ID: "bert", Name: "Bert Maier", Phone: "+493055555"}, time.Now()); err != nil {
		t.Fatal(err)
	}
	meeting = w.OpenMeetingWith(identity.Meeting{Title: "Budget", Level: level, Chair: "anna", People: []conclave.PersonID{"anna", "bert"}, Door: identity.DoorInvited})
	code, _, err := w.Server.Directory().IssuePhoneCode(context.Background(), "bert", meeting, 0, rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return w, meeting, code
}

func codes(reasons []conclave.Problem) (out []string) {
	for _, r := range reasons {
		out = append(out, r.Code)
	}
	return out
}

func TestACodeBringsAStatementForTheKeyOfThisCallAlone(t *testing.T) {
	t.Parallel()
	w, meeting, code := phoneWorld(t, 0)
	key := enrolGateway(t, w)
	g := connectGateway(t, w, key)
	id := signal.NewCallID()
	if s := g.came(id, signal.PhoneOpen); !s.Ask {
		t.Fatalf("refused: %v", codes(s.Reasons))
	}
	// A proof that was made for another connection is one that somebody kept.
	old := g.nonce
	g.socket.CloseNow()
	g = connectGateway(t, w, key, id)
	if a := g.code(id, code, old); len(a.Statement) > 0 || len(a.Reasons) != 1 {
		t.Errorf("a proof of another connection: %+v", codes(a.Reasons))
	}
	a := g.code(id, code, g.nonce)
	if len(a.Statement) == 0 || a.Meeting != meeting {
		t.Fatalf("refused: %v", codes(a.Reasons))
	}
	// One leg for a call: a second code of the same call, and a key as of a call that we asked for, are out of turn.
	if a := g.code(id, code, g.nonce); len(a.Statement) > 0 || a.Right {
		t.Errorf("a second statement for one call: %+v", codes(a.Reasons))
	}
	d := w.NewDevice()
	g.send(&signal.CallKey{Call: id, Line: signal.PhoneHop, LeafKey: d.Point, Proof: d.Sign(signal.CallContent(g.nonce, id))})
	if a := told[*signal.CallAnswer](g); a.Right || len(a.Statement) > 0 {
		t.Error("the line of a call that came was made better")
	}
	if s := g.came(id, signal.PhoneOpen); s.Ask {
		t.Error("a call came twice")
	}
}

func TestAGatewayHasNothingToSayOfAnothersCalls(t *testing.T) {
	t.Parallel()
	w, _, code := phoneWorld(t, 0)
	first, second := connectGateway(t, w, enrolGateway(t, w)), connectGateway(t, w, enrolGateway(t, w))
	id := signal.NewCallID()
	if s := first.came(id, signal.PhoneOpen); !s.Ask {
		t.Fatalf("refused: %v", codes(s.Reasons))
	}
	if a := second.code(id, code, second.nonce); a.Right || len(a.Statement) > 0 {
		t.Error("a code was looked at for a call of another gateway")
	}
	second.send(&signal.CallOver{Call: id, Outcome: "left"})
	second.send(&signal.CallBack{Call: id})
	if f := told[*signal.Failed](second); f.Of != "call_back" {
		t.Errorf("%+v", f)
	}
	if s := second.came(id, signal.PhoneOpen); s.Ask {
		t.Error("a call of another gateway came")
	}
	// The first one's call lives, with all its tries.
	if a := first.code(id, "000000000000", first.nonce); a.Right || a.Left != 2 {
		t.Errorf("%d tries are left", a.Left)
	}
	// Nor does it name one of its own as living after a lost connection.
	third := connectGateway(t, w, second.key, id)
	if e := told[*signal.CallEnd](third); e.Call != id {
		t.Errorf("%+v", e)
	}
}

func TestACodeIsWornOutByTenWrongTriesOfWhomever(t *testing.T) {
	t.Parallel()
	w, _, code := phoneWorld(t, 0)
	g := connectGateway(t, w, enrolGateway(t, w))
	wrong := []byte(code)
	wrong[11] = '0' + (wrong[11]-'0'+1)%10
	for try := range 10 {
		id := signal.NewCallID() // of another number each time, so that no caller is braked
		g.send(&signal.CallCame{Call: id, Line: signal.PhoneOpen, Caller: fmt.Sprint("+4930", try), Trunk: "pbx"})
		if s := told[*signal.CallScreened](g); !s.Ask {
			t.Fatalf("try %d: %v", try, codes(s.Reasons))
		}
		if a := g.code(id, string(wrong), g.nonce); a.Right {
			t.Fatal("a wrong code is right")
		}
		g.send(&signal.CallOver{Call: id, Outcome: "no_code"})
	}
	id := signal.NewCallID()
	g.send(&signal.CallCame{Call: id, Line: signal.PhoneOpen, Caller: "+49309", Trunk: "pbx"})
	if s := told[*signal.CallScreened](g); s.Ask {
		if a := g.code(id, code, g.nonce); a.Right {
			t.Error("a code that was guessed at ten times still opens the meeting")
		}
	}
}

// Who guesses in many calls at once has no more tries than one after the other.
func TestCodesOfManyCallsAtOnceAreNotLookedAtBeyondTheBrake(t *testing.T) {
	t.Parallel()
	w, _, code := phoneWorld(t, 0)
	g := connectGateway(t, w, enrolGateway(t, w))
	wrong := []byte(code)
	wrong[11] = '0' + (wrong[11]-'0'+1)%10
	const calls = 14 // of one caller, who may try nine in an hour
	var ids [calls]signal.CallID
	for i := range ids {
		ids[i] = signal.NewCallID()
		if s := g.came(ids[i], signal.PhoneOpen); !s.Ask {
			t.Fatalf("call %d: %v", i, codes(s.Reasons))
		}
	}
	d := w.NewDevice()
	for _, id := range ids {
		g.send(&signal.CallCode{Call: id, Code: string(wrong), LeafKey: d.Point, Proof: d.Sign(signal.CallContent(g.nonce, id))})
	}
	tried := 0
	for range ids {
		if slices.Contains(codes(told[*signal.CallAnswer](g).Reasons), "phone_code_wrong") {
			tried++
		}
	}
	if tried != 9 {
		t.Errorf("%d codes were looked at, want 9", tried)
	}
}

func TestARefusedCallerIsRungOnceTheCallIsOverAndOnlyWithSRTP(t *testing.T) {
	t.Parallel()
	w, _, code := phoneWorld(t, 1) // no open line is let in
	g := connectGateway(t, w, enrolGateway(t, w))
	id := signal.NewCallID()
	if s := g.came(id, signal.PhoneOpen); !s.Ask {
		t.Fatalf("refused: %v", codes(s.Reasons))
	}
	a := g.code(id, code, g.nonce)
	if !a.Right || !a.CallBack || len(a.Statement) > 0 {
		t.Fatalf("%+v", a)
	}
	g.send(&signal.CallBack{Call: id})
	g.send(&signal.CallOver{Call: id, Outcome: "refused"})
	asked := time.Now()
	r := told[*signal.RingOut](g)
	if r.Address != "+493055555" || !r.Secure {
		t.Errorf("%+v", r)
	}
	if d := time.Since(asked); d < time.Second {
		t.Errorf("rung after %v: the telephone is still busy", d)
	}
	// Who was rung in the clear all the same is not let in.
	d := w.NewDevice()
	g.send(&signal.CallKey{Call: r.Call, Line: signal.PhoneOpen, LeafKey: d.Point, Proof: d.Sign(signal.CallContent(g.nonce, r.Call))})
	if a := told[*signal.CallAnswer](g); len(a.Statement) > 0 || !slices.Equal(codes(a.Reasons), []string{"phone_not_allowed"}) {
		t.Errorf("a call-back in the clear: %v", codes(a.Reasons))
	}
	rings := 0
	for _, e := range w.Records() {
		if e.Record.Kind == audit.KindRing {
			rings++
		}
	}
	if rings != 1 {
		t.Errorf("%d records of a ring", rings)
	}
}
