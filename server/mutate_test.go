package server_test

import (
	"crypto/ed25519"
	crand "crypto/rand"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/gate"
	"conclave/mls"
	"conclave/mls/member"
	"conclave/pass"
	"conclave/server"
	"conclave/server/servertest"
	"conclave/signal"
)

// intruder is an invited person's device whose program checks nothing and changes what it hands in. All that it has is real
// until it is changed.
type intruder struct {
	*raw
	device   *servertest.Device
	meeting  conclave.MeetingID
	signer   mls.Signer
	admitted *signal.Admitted
	sent     int // messages on this connection, which has a limit
}

// trusting accepts everything.
type trusting struct{}

func (trusting) VerifyLeaf(mls.LeafCheck) error { return nil }
func (trusting) VerifyExternalSender(*mls.ExternalSender, *mls.GroupContext, time.Time) error {
	return nil
}
func (trusting) Client(*mls.LeafNode) string { return "" }

func intrude(t testing.TB, w *servertest.World, d *servertest.Device, m conclave.MeetingID) *intruder {
	t.Helper()
	scalar, err := d.Key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	i := &intruder{device: d, meeting: m}
	if i.signer, err = mls.NewSigner(gate.Suite, scalar); err != nil {
		t.Fatal(err)
	}
	i.again(t, w)
	return i
}

// again comes anew, as far as a pass.
func (i *intruder) again(t testing.TB, w *servertest.World) {
	t.Helper()
	if i.raw != nil {
		i.socket.CloseNow()
	}
	i.raw, i.sent = connect(t, w), 0
	i.admitted = i.raw.admitted(i.device, i.meeting)
}

// papers are what a leaf shows.
type papers struct{ statement, pass, proof []byte }

func (i *intruder) papers() papers {
	return papers{slices.Clone(i.device.Statement), slices.Clone(i.admitted.Pass), slices.Clone(i.admitted.LogProof)}
}

// enter makes the external commit by which a leaf with these papers would come in, rightly signed by the leaf's key.
func (i *intruder) enter(p papers) *signal.Enter {
	i.t.Helper()
	var m mls.Message
	if err := mls.Unmarshal(i.admitted.Group.GroupInfo, &m); err != nil {
		i.t.Fatal(err)
	}
	tree, err := mls.ParseRatchetTree(gate.Suite, i.admitted.Group.Tree)
	if err != nil {
		i.t.Fatal(err)
	}
	leaf := member.Leaf{
		Credential: mls.BasicCredential(p.statement),
		Capabilities: &mls.Capabilities{Versions: []mls.ProtocolVersion{mls.MLS10}, CipherSuites: []mls.CipherSuite{gate.Suite},
			Extensions: gate.Extensions, Credentials: []mls.CredentialType{mls.CredentialBasic}},
	}
	if p.pass != nil {
		leaf.Extensions = append(leaf.Extensions, mls.Extension{Type: pass.ExtensionPass, Data: p.pass})
	}
	if p.proof != nil {
		leaf.Extensions = append(leaf.Extensions, mls.Extension{Type: pass.ExtensionLogProof, Data: p.proof})
	}
	now := time.Now()
	group, commit, err := member.JoinExternal(member.Config{Suite: gate.Suite, Signer: i.signer, Verifier: trusting{}, Rand: crand.Reader},
		m.GroupInfo, tree, leaf, member.ExternalOptions{}, now)
	if err != nil {
		i.t.Fatal(err)
	}
	info, err := group.GroupInfo(false)
	if err != nil {
		i.t.Fatal(err)
	}
	return &signal.Enter{Epoch: i.admitted.Group.Epoch, Commit: commit, GroupInfo: info}
}

// try hands a commit in and returns the code with which it is refused; "" if it was not.
func (i *intruder) try(t testing.TB, w *servertest.World, e *signal.Enter) string {
	t.Helper()
	if i.sent++; i.sent > 400 {
		i.again(t, w)
	}
	i.send(e)
	for {
		switch m := i.next().(type) {
		case *signal.Failed:
			return m.Reason.Code
		case *signal.Stale:
			return "stale"
		case *signal.Ended:
			i.again(t, w)
			return m.Reason.Code
		case *signal.Entered:
			return ""
		case nil:
			i.again(t, w)
			return "closed"
		}
	}
}

// flipped is b with one bit otherwise.
func flipped(b []byte, bit int) []byte {
	out := slices.Clone(b)
	bit %= 8 * len(b)
	out[bit/8] ^= 1 << (bit % 8)
	return out
}

// mutations is how many joins are tried with something wrong.
const mutations = 10_000

// Every field of statement, log proof, pass, policy hash and commit is changed, each bit of it or the whole, signed anew where
// the intruder could: nobody gets a key, and each is refused with the code that says why.
func TestTenThousandMutatedJoinsGetNoKey(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	w := servertest.StartWith(t, servertest.Options{Limits: server.Limits{Connections: 5000, PerAddress: 5000, Rate: 1e6, Burst: 1e6, Requests: 1e6}})
	a, b, c := w.Enrol("anna"), w.Enrol("mallory"), w.Enrol("ben")
	m := w.OpenMeeting("anna", "mallory", "ben")
	other := w.OpenMeeting("anna", "mallory")
	anna := come(t, w, a, "anna", m).in()
	epoch, key := anna.keys.now()
	i := intrude(t, w, b, m)
	good := i.enter(i.papers())
	done := map[string]int{}
	total := 0
	refused := func(what, code string, want ...string) {
		t.Helper()
		total++
		done[what+": "+code]++
		if code == "" || len(want) > 0 && !slices.Contains(want, code) {
			t.Errorf("%s: refused with %q, want %v", what, code, want)
		}
	}

	// Papers that are whole, but not for this: signed by the organisation itself.
	now := time.Now()
	genuine := pass.Pass{Meeting: m, Device: conclave.DeviceOf(b.Point), Level: 0, Grade: conclave.GradeSealed, PolicyHash: [32]byte(i.admitted.Meeting.PolicyHash),
		NotBefore: now, NotAfter: now.Add(4 * time.Minute)}
	for name, v := range map[string]struct {
		change func(*pass.Pass)
		want   string
	}{
		"pass of another meeting": {func(p *pass.Pass) { p.Meeting = other }, "pass_meeting"},
		"pass of another device":  {func(p *pass.Pass) { p.Device = conclave.DeviceOf(c.Point) }, "pass_device"},
		"pass of another policy":  {func(p *pass.Pass) { p.PolicyHash[7] ^= 1 }, "pass_policy"},
		"pass that ran out":       {func(p *pass.Pass) { p.NotBefore, p.NotAfter = now.Add(-4*time.Minute), now.Add(-time.Second) }, "pass_expired"},
		"pass of tomorrow":        {func(p *pass.Pass) { p.NotBefore, p.NotAfter = now.Add(24*time.Hour), now.Add(24*time.Hour+time.Minute) }, "pass_early"},
	} {
		one := genuine
		v.change(&one)
		signed, err := w.Organisation.SignPass(&one)
		if err != nil {
			t.Fatal(err)
		}
		p := i.papers()
		p.pass = signed
		refused(name, i.try(t, w, i.enter(p)), v.want)
	}
	// The same papers under a key of mallory's own.
	_, own, _ := ed25519.GenerateKey(crand.Reader)
	real, err := pass.ParseStatement(b.Statement)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*pass.Statement){
		"statement, organisation": func(s *pass.Statement) { s.Organisation = "evil.example" },
		"statement, person":       func(s *pass.Statement) { s.Person = "anna" },
		"statement, name":         func(s *pass.Statement) { s.Name = "Anna" },
		"statement, unit":         func(s *pass.Statement) { s.Unit = "Cabinet" },
		"statement, key":          func(s *pass.Statement) { s.LeafKey = c.Point },
		"statement, assurance":    func(s *pass.Statement) { s.Assurance = conclave.AssuranceManaged },
		"statement, kind":         func(s *pass.Statement) { s.Kind, s.Assurance = pass.KindGuest, conclave.AssuranceGuest },
		"statement, times":        func(s *pass.Statement) { s.NotAfter = s.NotAfter.Add(-time.Hour) },
		"statement, signature":    func(*pass.Statement) {},
	} {
		one := *real
		change(&one)
		signed, err := pass.SignStatement(own, &one)
		if err != nil {
			t.Fatal(err)
		}
		p := i.papers()
		p.statement = signed
		refused(name, i.try(t, w, i.enter(p)), "log_proof_other") // what the organisation never signed stands in no log
		r := connect(t, w)
		r.hello(&servertest.Device{Key: b.Key, Point: b.Point, Statement: signed}, m)
		refused("hello, "+name, refusal(r), "statement_invalid", "hello_signature")
		r.socket.CloseNow()
	}
	one := genuine
	signed, err := pass.SignPass(own, func() *pass.Pass { one.Organisation = w.Organisation.ID; return &one }())
	if err != nil {
		t.Fatal(err)
	}
	p := i.papers()
	p.pass = signed
	refused("pass, signature", i.try(t, w, i.enter(p)), "pass_signature", "grant_missing")
	for name, change := range map[string]func(*papers){
		"no pass":                 func(p *papers) { p.pass = nil },
		"no proof":                func(p *papers) { p.proof = nil },
		"another's statement":     func(p *papers) { p.statement = c.Statement },
		"a proof of another":      func(p *papers) { p.proof = anotherProof(t, w, c, m) },
		"pass as statement":       func(p *papers) { p.statement = p.pass },
		"statement as pass":       func(p *papers) { p.pass = p.statement },
		"proof as pass":           func(p *papers) { p.pass = p.proof },
		"an empty statement":      func(p *papers) { p.statement = []byte{} },
		"a pass that is too long": func(p *papers) { p.pass = append(p.pass, 0) },
		"a proof that is cut":     func(p *papers) { p.proof = p.proof[:len(p.proof)/2] },
	} {
		p := i.papers()
		change(&p)
		refused(name, i.try(t, w, i.enter(p)))
	}

	// Single bits, drawn so that each run tries others.
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 1))
	for range 900 {
		p := i.papers()
		field := []string{"statement bit", "pass bit", "proof bit"}[chance.IntN(3)]
		part := map[string]*[]byte{"statement bit": &p.statement, "pass bit": &p.pass, "proof bit": &p.proof}[field]
		*part = flipped(*part, chance.IntN(8*len(*part)))
		refused(field, i.try(t, w, i.enter(p)))
	}
	for range 1500 {
		r := connect(t, w)
		h := &signal.Hello{Meeting: m, Statement: slices.Clone(b.Statement), Client: signal.Client{Kind: "headless"}}
		what := "hello, signature bit"
		if chance.IntN(2) == 0 {
			what = "hello, statement bit"
			h.Statement = flipped(h.Statement, chance.IntN(8*len(h.Statement)))
		}
		h.Signature = b.Sign(signal.HelloContent(r.nonce, m, w.Host, h.Client))
		if what == "hello, signature bit" {
			h.Signature = flipped(h.Signature, chance.IntN(8*len(h.Signature)))
		}
		r.send(h)
		refused(what, refusal(r), "statement_malformed", "statement_invalid", "statement_expired", "hello_signature", "closed")
		r.socket.CloseNow()
	}
	for total < mutations {
		e := *good
		what := "commit bit"
		switch chance.IntN(20) {
		case 0:
			what, e.GroupInfo = "group info bit", flipped(e.GroupInfo, chance.IntN(8*len(e.GroupInfo)))
		case 1:
			what, e.Epoch = "another epoch", e.Epoch+1+chance.Uint64N(1000)
		default:
			e.Commit = flipped(e.Commit, chance.IntN(8*len(e.Commit)))
		}
		refused(what, i.try(t, w, &e))
	}

	if now, same := anna.keys.now(); now != epoch || !slices.Equal(same, key) {
		t.Error("the room has other keys than before")
	}
	entered := 0
	for _, e := range w.Records() {
		if e.Record.Kind == audit.KindEnter {
			entered++
		}
	}
	if entered != 1 {
		t.Errorf("%d entered", entered)
	}
	// And what was changed was good: unchanged, it lets in.
	i.again(t, w)
	if code := i.try(t, w, i.enter(i.papers())); code != "" {
		t.Errorf("the unchanged join was refused with %q: this test shows nothing", code)
	}
	t.Logf("%d joins were refused: %v", total, done)
}

// refusal goes on to Join where the server lets it, and returns the code of the refusal.
func refusal(r *raw) string {
	r.t.Helper()
	for {
		switch m := r.next().(type) {
		case *signal.Line:
			r.send(&signal.Join{})
		case *signal.Refused:
			return m.Reasons[0].Code
		case *signal.Failed:
			return m.Reason.Code
		case *signal.Ended:
			return m.Reason.Code
		case *signal.Admitted:
			return ""
		case nil:
			return "closed"
		}
	}
}

// anotherProof is the log proof of another device's statement.
func anotherProof(t testing.TB, w *servertest.World, d *servertest.Device, m conclave.MeetingID) []byte {
	t.Helper()
	r := connect(t, w)
	defer r.socket.CloseNow()
	return r.admitted(d, m).LogProof
}
