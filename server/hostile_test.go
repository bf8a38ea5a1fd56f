package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"conclave"
	"conclave/admission"
	"conclave/identity"
	"conclave/server"
	"conclave/server/servertest"
	"conclave/signal"
)

func TestMalformedFramesEndTheirConnectionAndDisturbNobody(t *testing.T) {
	w := servertest.Start(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := w.OpenMeeting("anna", "ben")
	anna := come(t, w, a, "anna", m).in()
	for name, frame := range map[string]string{
		"no JSON":            "hello",
		"nothing":            "",
		"another's message":  `{"type":"admitted","body":{}}`,
		"an unknown type":    `{"type":"obey","body":{}}`,
		"an unknown field":   `{"type":"join","body":{"rank":1}}`,
		"a proven fact":      `{"type":"join","body":{"facts":[{"name":"network","value":"x","proven":true}]}}`,
		"deep nesting":       `{"type":"join","body":{"facts":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}}`,
		"a large small one":  `{"type":"renew","body":{` + strings.Repeat(" ", signal.MaxSmallFrame) + `}}`,
		"a malformed hello":  `{"type":"hello","body":{"meeting":"x"}}`,
		"an enter with both": `{"type":"enter","body":{"epoch":0,"commit":"AA==","tree":"AA==","group_info":"AA=="}}`,
	} {
		t.Run(name, func(t *testing.T) {
			r := connect(t, w)
			r.admitted(b, m)
			r.write(frame)
			if e := expect[*signal.Ended](r); e.Reason.Code != "request_malformed" || e.Reason.Fix == "" {
				t.Errorf("ended with %+v", e.Reason)
			}
			r.closed()
		})
	}
	t.Run("a large frame of a stranger", func(t *testing.T) {
		r := connect(t, w)
		r.write(`{"type":"commit","body":{"epoch":0,"message":"` + strings.Repeat("A", signal.MaxSmallFrame) + `"}}`)
		r.closed()
	})
	t.Run("a frame over the limit", func(t *testing.T) {
		r := connect(t, w)
		r.admitted(b, m)
		r.write(`{"type":"commit","body":{"epoch":0,"message":"` + strings.Repeat("A", signal.MaxClientFrame) + `"}}`)
		r.closed()
	})
	t.Run("a binary frame", func(t *testing.T) {
		r := connect(t, w)
		r.socket.Write(t.Context(), websocket.MessageBinary, []byte(`{"type":"join","body":{}}`))
		expect[*signal.Ended](r)
	})
	anna.noAlarm()
	alike(t, anna)
}

func TestMessagesOutOfTurnAreAnsweredAndChangeNothing(t *testing.T) {
	w := servertest.Start(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := w.OpenMeeting("anna", "ben")
	anna := come(t, w, a, "anna", m).in()
	failed := func(r *raw, of, code string) {
		t.Helper()
		if f := expect[*signal.Failed](r); f.Of != of || f.Reason.Code != code {
			t.Errorf("%s: failed %+v, want %s", of, f, code)
		}
	}
	r := connect(t, w)
	for _, early := range []signal.Message{&signal.Join{}, &signal.Renew{}, &signal.Leave{}, &signal.State{}, &signal.Decide{},
		&signal.Enter{GroupInfo: []byte{1}, Commit: []byte{1}}, &signal.Commit{Message: []byte{1}}, &signal.Remove{Reason: "other"}} {
		r.send(early)
		failed(r, early.Type(), "out_of_turn")
	}
	r.admitted(b, m)
	r.hello(b, m)
	failed(r, "hello", "out_of_turn")
	r.send(&signal.Join{})
	failed(r, "join", "out_of_turn")
	// Admitted, but no member: no keys, no say.
	r.send(&signal.Commit{Message: []byte{1}, GroupInfo: []byte{1}})
	failed(r, "commit", "out_of_turn")
	r.send(&signal.Remove{Leg: anna.leg("anna"), Reason: "other"})
	failed(r, "remove", "not_chair")
	r.send(&signal.Decide{Leg: anna.leg("anna"), Admit: true})
	failed(r, "decide", "not_chair")
	r.send(&signal.Enter{Epoch: 0, GroupInfo: []byte{1}, Commit: []byte{1}})
	failed(r, "enter", "commit_refused")
	r.send(&signal.Proposal{Message: []byte{1}})
	failed(r, "proposal", "out_of_turn")
	r.send(&signal.Media{Ufrag: "abcd", Password: strings.Repeat("p", 22), Fingerprint: make([]byte, 32), ServerFingerprint: make([]byte, 32), Opus: 111, VP8: 96})
	failed(r, "media", "media_refused")
	// A wrong epoch is not refused but told the right one.
	r.send(&signal.Enter{Epoch: 7, GroupInfo: []byte{1}, Commit: []byte{1}})
	if s := expect[*signal.Stale](r); s.Group == nil || s.Epoch != 0 {
		t.Errorf("stale %+v", s)
	}
	r.send(&signal.Leave{})
	if e := expect[*signal.Ended](r); e.Reason.Code != "left" {
		t.Errorf("ended %+v", e)
	}
	alike(t, anna)
	anna.noAlarm()
}

func TestAHelloForAnotherServerOrMeetingIsRefused(t *testing.T) {
	w := servertest.Start(t)
	a := w.Enrol("anna")
	m := w.OpenMeeting("anna")
	by := signal.Client{Kind: "browser", Agent: "Mozilla/5.0 Chrome/156.0.0.0"}
	for name, sign := range map[string]func(r *raw) []byte{
		"another host":    func(r *raw) []byte { return a.Sign(signal.HelloContent(r.nonce, m, "evil.example:443", by)) },
		"another meeting": func(r *raw) []byte { return a.Sign(signal.HelloContent(r.nonce, conclave.MeetingID{1}, w.Host, by)) },
		"another nonce":   func(r *raw) []byte { return a.Sign(signal.HelloContent(make([]byte, 32), m, w.Host, by)) },
		"another key":     func(r *raw) []byte { return w.NewDevice().Sign(signal.HelloContent(r.nonce, m, w.Host, by)) },
		"another program": func(r *raw) []byte {
			return a.Sign(signal.HelloContent(r.nonce, m, w.Host, signal.Client{Kind: "browser", Agent: "Odd/1.0"}))
		},
		"nothing": func(r *raw) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			r := connect(t, w)
			r.send(&signal.Hello{Meeting: m, Statement: a.Statement, Signature: sign(r), Client: by})
			if f := expect[*signal.Refused](r); f.Reasons[0].Code != "hello_signature" || f.Again {
				t.Errorf("refused %+v", f)
			}
			r.closed()
		})
	}
}

// strangersView is all that a connection tells until it ends, without nonces and times.
func strangersView(t *testing.T, w *servertest.World, d *servertest.Device, m conclave.MeetingID) string {
	t.Helper()
	r := connect(t, w)
	r.hello(d, m)
	var out strings.Builder
	for {
		msg := r.next()
		if msg == nil {
			return out.String()
		}
		out.Write(signal.Encode(msg))
		out.WriteByte('\n')
		if _, ok := msg.(*signal.Line); ok {
			r.send(&signal.Join{})
		}
	}
}

func TestAStrangerLearnsNothingOfAMeeting(t *testing.T) {
	w := servertest.Start(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	restricted := w.OpenMeetingWith(identity.Meeting{Title: "Tangerine", Level: 2, Chair: "anna", Door: identity.DoorChair})
	over := w.OpenMeeting("anna")
	running := w.OpenMeeting("anna")
	come(t, w, a, "anna", running).in()
	come(t, w, a, "anna", restricted).in()
	adminPost(t, w, "/meetings/"+over.Text()+"/end", "{}")
	none := conclave.MeetingID{42}

	views := map[string]string{}
	for name, d := range map[string]*servertest.Device{"ben, not invited": b, "nobody": unknown(w, ""), "one who says to be anna": unknown(w, "anna")} {
		want := strangersView(t, w, d, none)
		views[name] = want
		for what, m := range map[string]conclave.MeetingID{"a restricted meeting": restricted, "one that is over": over, "one that runs": running} {
			if got := strangersView(t, w, d, m); got != want {
				t.Errorf("%s can tell %s from none:\n%s\n%s", name, what, got, want)
			}
		}
		if strings.Contains(want, "Tangerine") || strings.Contains(want, "RESTRICTED") || strings.Contains(want, "anna") {
			t.Errorf("%s is told %s", name, want)
		}
	}
	if views["nobody"] != views["one who says to be anna"] {
		t.Errorf("a forged statement tells who is known:\n%s\n%s", views["nobody"], views["one who says to be anna"])
	}
	// Coming back to a room of others leaves no trace, and takes no longer for one.
	before := len(w.Records())
	for _, d := range []*servertest.Device{b, unknown(w, "anna")} {
		r := connect(t, w)
		r.send(&signal.Hello{Meeting: running, Statement: d.Statement, Signature: d.Sign(signal.HelloContent(r.nonce, running, w.Host, signal.Client{})),
			Resume: &signal.Resume{Leg: conclave.LegID{1}, Epoch: 1}})
		expect[*signal.Line](r)
	}
	if n := len(w.Records()) - before; n != 0 {
		t.Errorf("strangers who come back are recorded %d times", n)
	}
	// Every route says the same of every pointer.
	for _, path := range []string{"/m/%s", "/v1/meetings/%s", "/meetings/%s", "/v1/signal?m=%s"} {
		first := get(t, w, fmt.Sprintf(path, none.Text()))
		for _, m := range []conclave.MeetingID{restricted, over, running} {
			if got := get(t, w, fmt.Sprintf(path, m.Text())); got != first {
				t.Errorf("%s tells meetings apart", path)
			}
		}
	}
	// And the log names nobody.
	for _, word := range []string{"anna", "ben", "Tangerine", running.Text(), "127.0.0.1:5"} {
		if strings.Contains(w.Log(), word) {
			t.Errorf("the log holds %q", word)
		}
	}
}

func TestAPageOfAnotherOriginGetsNothingDone(t *testing.T) {
	w := servertest.Start(t)
	for _, path := range []string{"/v1/nonce", "/v1/enrol", "/v1/renew"} {
		req, err := http.NewRequest(http.MethodPost, w.URL+path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Origin", "https://evil.example")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden || strings.Contains(string(body), "nonce") {
			t.Errorf("%s answers another origin with %s: %s", path, resp.Status, body)
		}
	}
	for _, origin := range []string{"https://evil.example", "null", "http://" + w.Host + ".evil.example"} {
		c, resp, err := websocket.Dial(t.Context(), w.URL+"/v1/signal", &websocket.DialOptions{
			Subprotocols: []string{signal.Subprotocol}, HTTPHeader: http.Header{"Origin": {origin}}})
		if err == nil {
			c.CloseNow()
			t.Errorf("origin %s gets a connection", origin)
		} else if resp == nil || resp.StatusCode != http.StatusForbidden {
			t.Errorf("origin %s: %v", origin, err)
		}
	}
}

// unknown is a device with a statement that nobody signed.
func unknown(w *servertest.World, person string) *servertest.Device {
	d := w.NewDevice()
	d.Statement = forgedStatement(w.Organisation.ID, conclave.PersonID(person), d.Point)
	return d
}

func get(t *testing.T, w *servertest.World, path string) string {
	t.Helper()
	resp, err := http.Get(w.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return fmt.Sprint(resp.StatusCode, resp.Header.Get("Content-Type"), string(b))
}

func TestAThousandJoinsASecondFromOneAddress(t *testing.T) {
	limits := server.DefaultLimits()
	limits.Rate, limits.Burst, limits.PerAddress = 20, 60, 50
	w := servertest.StartWith(t, servertest.Options{Limits: limits})
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := w.OpenMeeting("anna", "ben")
	anna, ben := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in()
	alike(t, anna, ben)
	before := heap()
	var turned, taken atomic.Int32
	var wg sync.WaitGroup
	began := time.Now()
	for range 20 {
		wg.Go(func() {
			for range 100 {
				c, err := dialRaw(w)
				if err != nil {
					turned.Add(1)
					continue
				}
				taken.Add(1)
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				_, frame, err := c.Read(ctx)
				if err == nil {
					if ch, err := signal.Decode(frame, signal.FromServer); err == nil {
						nonce := ch.(*signal.Challenge).Nonce
						hello := &signal.Hello{Meeting: m, Statement: a.Statement, Signature: a.Sign(signal.HelloContent(nonce, m, "x", signal.Client{}))}
						c.Write(ctx, websocket.MessageText, signal.Encode(hello))
						c.Read(ctx)
					}
				}
				cancel()
				c.CloseNow()
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	t.Logf("%d taken, %d turned away in %v (%.0f a second)", taken.Load(), turned.Load(), took, 2000/took.Seconds())
	if most := int32(limits.Burst + limits.Rate*took.Seconds() + 1); taken.Load() > most {
		t.Errorf("%d connections were taken, at most %d allowed", taken.Load(), most)
	}
	if after := heap(); after > before+8<<20 {
		t.Errorf("%d kB were kept", (after-before)>>10)
	}
	// The others have noticed nothing.
	anna.SetState(signal.State{Hand: true})
	wait(t, "anna's hand", 2*time.Second, func() bool { return strings.Contains(ben.lastRoster(), `"hand":true`) })
	anna.noAlarm()
	ben.noAlarm()
	for range 200 { // whatever has leaked back since
		get(t, w, "/v1/signal")
	}
	if got := get(t, w, "/v1/signal"); !strings.HasPrefix(got, "429") || !strings.Contains(got, `{"problem":{"code":"too_many","fix":"wait_a_minute"}}`) {
		t.Errorf("turned away with %s", got)
	}
}

func (g *guest) lastRoster() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := len(g.events) - 1; i >= 0; i-- {
		if r := g.events[i].Roster; r != nil {
			b, _ := json.Marshal(r)
			return string(b)
		}
	}
	return ""
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestASilentConnectionEndsByItself(t *testing.T) {
	w := servertest.Start(t)
	began := time.Now()
	r := connect(t, w)
	r.closed()
	if took := time.Since(began); took > 12*time.Second || took < 5*time.Second {
		t.Errorf("ended after %v", took)
	}
}

func TestAClientThatSendsWithoutEndIsEnded(t *testing.T) {
	w := servertest.Start(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := w.OpenMeeting("anna", "ben")
	anna := come(t, w, a, "anna", m).in()
	r := connect(t, w)
	r.admitted(b, m)
	go func() {
		for range 5000 {
			if r.socket.Write(context.Background(), websocket.MessageText, signal.Encode(&signal.Decide{})) != nil {
				return
			}
		}
	}()
	if e := expect[*signal.Ended](r); e.Reason.Code != "too_many" {
		t.Errorf("ended with %+v", e)
	}
	r.closed()
	if n := len(w.Records()); n > 30 {
		t.Errorf("it made us write %d records", n)
	}
	alike(t, anna)
}

func TestNoGoroutineOutlivesTheServer(t *testing.T) {
	before := runtime.NumGoroutine()
	func() {
		w := servertest.Start(t)
		a, b := w.Enrol("anna"), w.Enrol("ben")
		m := w.OpenMeeting("anna", "ben")
		anna, ben := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in()
		alike(t, anna, ben)
		connect(t, w)
		anna.cancel()
		ben.cancel()
		<-anna.done
		<-ben.done
		anna.done <- nil
		ben.done <- nil
		w.Stop()
	}()
	http.DefaultClient.CloseIdleConnections()
	var stacks bytes.Buffer
	for range 100 {
		if runtime.NumGoroutine() <= before+2 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	buf := make([]byte, 1<<20)
	stacks.Write(buf[:runtime.Stack(buf, true)])
	t.Errorf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks.String())
}

func TestAssertionsAtTheDoorAreLookedAtAsSeldomAsJoins(t *testing.T) {
	w := servertest.Start(t)
	w.Enrol("anna")
	b := w.Enrol("ben")
	m := w.OpenMeetingWith(identity.Meeting{Title: "Closed", Chair: "anna", People: []conclave.PersonID{"ben"}, Door: identity.DoorChair})
	r := connect(t, w)
	r.hello(b, m)
	expect[*signal.Line](r)
	r.send(&signal.Join{})
	expect[*signal.Waiting](r)
	for range 30 {
		r.send(&signal.Join{Fingerprint: make([]byte, 32), Assertion: []byte(`{}`)})
	}
	for n := 1; ; n++ {
		if f := expect[*signal.Failed](r); f.Reason.Code == "too_many" {
			if n > 21 {
				t.Errorf("%d were looked at", n-1)
			}
			return
		} else if n == 30 {
			t.Fatalf("all were looked at, the last with %s", f.Reason.Code)
		}
	}
}

func TestWhatIsToldOfARefusalIsWhatWasDecided(t *testing.T) {
	shut, err := admission.Load(append(admission.DefaultPolicy(), []byte(`
@reason("not_alone")
@fix("be_alone")
forbid (principal, action == Action::"join", resource);
`)...), admission.DefaultLevels())
	if err != nil {
		t.Fatal(err)
	}
	open := admission.Default()
	var w *servertest.World
	var looks atomic.Int64
	var armed atomic.Bool
	w = servertest.StartWith(t, servertest.Options{Policy: open, Now: func() time.Time {
		if armed.Load() { // whoever looks at the clock finds another policy afterwards, twice of three times the open one
			w.Server.SetPolicy([]*admission.Policy{shut, open, open}[looks.Add(1)%3])
		}
		return time.Now()
	}})
	a := w.Enrol("anna")
	for i := range 9 {
		r := connect(t, w)
		r.hello(a, w.OpenMeeting("anna"))
		expect[*signal.Line](r)
		looks.Store(int64(i))
		armed.Store(true)
		r.send(&signal.Join{})
		for told := false; !told; {
			switch m := r.next().(type) {
			case *signal.Refused:
				if told = true; len(m.Reasons) == 0 {
					t.Fatal("refused without a reason")
				}
			case nil:
				t.Fatal("told nothing")
			default:
				told = true
			}
		}
		armed.Store(false)
		r.socket.CloseNow()
	}
}

func TestALookAtTheDoorWithATouchCountsOnce(t *testing.T) {
	w := servertest.Start(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := w.OpenMeetingWith(identity.Meeting{Title: "Closed", Chair: "anna", People: []conclave.PersonID{"ben"}, Door: identity.DoorChair})
	come(t, w, a, "anna", m).in()
	r := connect(t, w)
	r.hello(b, m)
	expect[*signal.Line](r)
	r.send(&signal.Join{})
	expect[*signal.Waiting](r)
	for i := range 15 { // with the first, 16 of 20
		r.send(&signal.Join{Assertion: []byte(`{"a":1}`), Fingerprint: make([]byte, 32)})
		if f := expect[*signal.Failed](r); f.Reason.Code == "too_many" {
			t.Fatalf("refused as one too many after %d", i)
		}
	}
}

// A copy of a device that learned its leg's name from a member takes no place: it has not the ticket, and asks like anybody. The
// touch that was given for the place stays with who gave it.
func TestACopyOfADeviceTakesNoPlace(t *testing.T) {
	w := servertest.Start(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := w.OpenMeeting("anna", "ben")
	anna, ben := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in()
	alike(t, anna, ben)
	from := anna.count()
	for _, ticket := range [][]byte{nil, make([]byte, signal.TicketSize)} {
		r := connect(t, w)
		r.send(&signal.Hello{Meeting: m, Statement: a.Statement, Signature: a.Sign(signal.HelloContent(r.nonce, m, w.Host, signal.Client{})),
			Resume: &signal.Resume{Leg: ben.leg("anna"), Epoch: 2, Ticket: ticket}})
		expect[*signal.Line](r)
	}
	alike(t, anna, ben)
	if story := fmt.Sprint(anna.since(from)); strings.Contains(story, "reconnecting") {
		t.Errorf("the leg lost its connection to a copy: %s", story)
	}
}
