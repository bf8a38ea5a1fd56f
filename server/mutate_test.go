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
	"conclave/identity"
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
	sent     int // commits of this leg, which has so many refused before none is looked at for a while
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

func (p papers) leaf() member.Leaf {
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
	return leaf
}

// enter makes the external commit by which a leaf with these papers would come in, rightly signed by the leaf's key.
func (i *intruder) enter(p papers) *signal.Enter {
	i.t.Helper()
	e, _ := i.enterGroup(p)
	return e
}

// enterGroup is enter, with the group as it will be.
func (i *intruder) enterGroup(p papers) (*signal.Enter, *member.Group) {
	i.t.Helper()
	var m mls.Message
	if err := mls.Unmarshal(i.admitted.Group.GroupInfo, &m); err != nil {
		i.t.Fatal(err)
	}
	tree, err := mls.ParseRatchetTree(gate.Suite, i.admitted.Group.Tree)
	if err != nil {
		i.t.Fatal(err)
	}
	now := time.Now()
	group, commit, err := member.JoinExternal(member.Config{Suite: gate.Suite, Signer: i.signer, Verifier: trusting{}, Rand: crand.Reader},
		m.GroupInfo, tree, p.leaf(), member.ExternalOptions{}, now)
	if err != nil {
		i.t.Fatal(err)
	}
	info, err := group.GroupInfo(false)
	if err != nil {
		i.t.Fatal(err)
	}
	return &signal.Enter{Epoch: i.admitted.Group.Epoch, Commit: commit, GroupInfo: info}, group
}

// try hands a commit in and returns the code with which it is refused; "" if it was not. A connection that has ended is no
// answer: it comes anew.
func (i *intruder) try(t testing.TB, w *servertest.World, e *signal.Enter) string {
	t.Helper()
	for range 3 {
		if i.sent++; i.sent > 15 {
			i.again(t, w)
		}
		i.send(e)
		for open := true; open; {
			switch m := i.next().(type) {
			case *signal.Failed:
				return m.Reason.Code
			case *signal.Stale:
				return "stale"
			case *signal.Entered:
				return ""
			case *signal.Ended:
				if m.Reason.Code != "enter_late" { // this test was slow
					i.again(t, w)
					return m.Reason.Code
				}
			case nil:
				open = false
			}
		}
		i.again(t, w)
	}
	t.Fatal("no answer, three times")
	return ""
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

// mutating is a run of joins with something wrong.
type mutating struct {
	t          *testing.T
	w          *servertest.World
	own, other *servertest.Device // of mallory, who is invited; of somebody else
	meeting    conclave.MeetingID
	i          *intruder
	chance     *rand.Rand
	total      int
	done       map[string]int
}

// refused notes how a join was refused, and holds it against how it should be.
func (x *mutating) refused(what, code string, want ...string) {
	x.t.Helper()
	x.total++
	x.done[what]++
	if !slices.Contains(want, code) {
		x.t.Errorf("%s: refused with %q, want %v", what, code, want)
	}
}

// enter tries a join whose papers are others than they were given.
func (x *mutating) enter(what string, change func(*papers), want ...string) {
	x.t.Helper()
	p := x.i.papers()
	change(&p)
	x.refused(what, x.i.try(x.t, x.w, x.i.enter(p)), want...)
}

// Every field of statement, log proof, pass, policy hash and commit is changed, each bit of it or the whole, signed anew where
// the intruder could: nobody gets a key, and each is refused with the code that says why.
func TestTenThousandMutatedJoinsGetNoKey(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	w := servertest.StartWith(t, servertest.Options{Limits: server.Limits{Connections: 5000, PerAddress: 5000, Rate: 1e6, Burst: 1e6, Requests: 1e6}})
	seed := rand.Uint64()
	t.Logf("seed %d", seed) // so that each run tries other bits
	x := &mutating{t: t, w: w, own: w.Enrol("mallory"), other: w.Enrol("ben"), chance: rand.New(rand.NewPCG(seed, 1)), done: map[string]int{}}
	a := w.Enrol("anna")
	// Above the lowest level, so that a pass can be for a lower one.
	x.meeting = w.OpenMeetingWith(identity.Meeting{Title: "Closed", Level: 1, Chair: "anna", People: []conclave.PersonID{"anna", "mallory", "ben"}, Door: identity.DoorInvited})
	x.foundings()
	anna := come(t, w, a, "anna", x.meeting).in()
	epoch, key := anna.keys.now()
	x.i = intrude(t, w, x.own, x.meeting)
	x.passes()
	x.statements()
	x.mixtures()
	x.hellos()
	x.i.again(t, w)
	x.octets()
	x.commits()

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
	x.i.again(t, w)
	if code := x.i.try(t, w, x.i.enter(x.i.papers())); code != "" {
		t.Errorf("the unchanged join was refused with %q: this test shows nothing", code)
	}
	t.Logf("%d joins were refused: %v", x.total, x.done)
}

// foundings makes groups for the meeting under other rules than it has: nobody is in yet.
func (x *mutating) foundings() {
	t, w := x.t, x.w
	t.Helper()
	x.i = intrude(t, w, x.own, x.meeting)
	rules := pass.MeetingContext{Meeting: x.meeting, Level: 1, PolicyHash: [32]byte(x.i.admitted.Meeting.PolicyHash)}
	removal, err := w.Organisation.RemovalKey().PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for what, one := range map[string]struct {
		rules  func(*pass.MeetingContext)
		papers func(*papers)
		key    []byte
		want   string
	}{
		"group, another level":     {rules: func(m *pass.MeetingContext) { m.Level = 0 }, want: "commit_refused"},
		"group, a higher level":    {rules: func(m *pass.MeetingContext) { m.Level = 2 }, want: "pass_level"},
		"group, another policy":    {rules: func(m *pass.MeetingContext) { m.PolicyHash[3] ^= 1 }, want: "commit_refused"},
		"group, a former policy":   {rules: func(m *pass.MeetingContext) { m.FormerPolicy[3] ^= 1 }, want: "commit_refused"},
		"group, the next policy":   {rules: func(m *pass.MeetingContext) { m.FormerPolicy, m.PolicyHash = m.PolicyHash, [32]byte{1} }, want: "commit_refused"},
		"group, another meeting":   {rules: func(m *pass.MeetingContext) { m.Meeting[3] ^= 1 }, want: "commit_refused"},
		"group, another's removal": {key: x.own.Point, want: "commit_refused"},
		"group, no pass":           {papers: func(p *papers) { p.pass = nil }, want: "pass_missing"},
		"group, no proof":          {papers: func(p *papers) { p.proof = nil }, want: "log_proof_missing"},
		"group, pass's policy":     {papers: func(p *papers) { p.pass = flipped(p.pass, 8*spanEnd(passSpans(t, p.pass), "policy hash")-1) }, want: "pass_policy"},
	} {
		m, p, key := rules, x.i.papers(), removal
		if one.rules != nil {
			one.rules(&m)
		}
		if one.papers != nil {
			one.papers(&p)
		}
		if one.key != nil {
			key = one.key
		}
		x.refused(what, x.i.try(t, w, x.i.found(p, gate.ContextExtensions(m, key))), one.want)
	}
}

// found makes a group of the intruder's own.
func (i *intruder) found(p papers, context mls.Extensions) *signal.Enter {
	i.t.Helper()
	id := append(i.meeting[:], make([]byte, 16)...)
	group, err := member.Create(member.Config{Suite: gate.Suite, Signer: i.signer, Verifier: trusting{}, Rand: crand.Reader}, id, context, p.leaf(), time.Now())
	if err != nil {
		i.t.Fatal(err)
	}
	info, err := group.GroupInfo(false)
	if err != nil {
		i.t.Fatal(err)
	}
	return &signal.Enter{GroupInfo: info, Tree: mls.Marshal(group.Tree())}
}

func spanEnd(s spans, name string) int {
	return s[slices.IndexFunc(s, func(one span) bool { return one.name == name })].end
}

// passes are whole, but not for this: signed by the organisation itself, or by mallory.
func (x *mutating) passes() {
	t := x.t
	t.Helper()
	now, other := time.Now(), x.w.OpenMeeting("anna", "mallory")
	genuine := pass.Pass{Meeting: x.meeting, Device: conclave.DeviceOf(x.own.Point), Level: 1, Grade: conclave.GradeSealed, PolicyHash: [32]byte(x.i.admitted.Meeting.PolicyHash),
		NotBefore: now, NotAfter: now.Add(4 * time.Minute)}
	for name, v := range map[string]struct {
		change func(*pass.Pass)
		want   string
	}{
		"pass of another meeting": {func(p *pass.Pass) { p.Meeting = other }, "pass_meeting"},
		"pass of another device":  {func(p *pass.Pass) { p.Device = conclave.DeviceOf(x.other.Point) }, "pass_device"},
		"pass of a lower level":   {func(p *pass.Pass) { p.Level = 0 }, "pass_level"},
		"pass of another policy":  {func(p *pass.Pass) { p.PolicyHash[7] ^= 1 }, "pass_policy"},
		"pass that ran out":       {func(p *pass.Pass) { p.NotBefore, p.NotAfter = now.Add(-4*time.Minute), now.Add(-time.Second) }, "pass_expired"},
		"pass of tomorrow":        {func(p *pass.Pass) { p.NotBefore, p.NotAfter = now.Add(24*time.Hour), now.Add(24*time.Hour+time.Minute) }, "pass_early"},
	} {
		one := genuine
		v.change(&one)
		signed, err := x.w.Organisation.SignPass(&one)
		if err != nil {
			t.Fatal(err)
		}
		x.enter(name, func(p *papers) { p.pass = signed }, v.want)
	}
	_, own, _ := ed25519.GenerateKey(crand.Reader)
	genuine.Organisation = x.w.Organisation.ID
	signed, err := pass.SignPass(own, &genuine)
	if err != nil {
		t.Fatal(err)
	}
	x.enter("pass, signed by another", func(p *papers) { p.pass = signed }, "pass_signature")
}

// statements are mallory's, changed and signed by mallory, or good once.
func (x *mutating) statements() {
	t := x.t
	t.Helper()
	_, own, _ := ed25519.GenerateKey(crand.Reader)
	real, err := pass.ParseStatement(x.own.Statement)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]struct {
		change func(*pass.Statement)
		want   string
	}{
		"statement, organisation": {func(s *pass.Statement) { s.Organisation = "evil.example" }, "organisation_unknown"},
		"statement, person":       {func(s *pass.Statement) { s.Person = "anna" }, "statement_signature"},
		"statement, name":         {func(s *pass.Statement) { s.Name = "Anna" }, "statement_signature"},
		"statement, unit":         {func(s *pass.Statement) { s.Unit = "Cabinet" }, "statement_signature"},
		"statement, key":          {func(s *pass.Statement) { s.LeafKey = x.other.Point }, "statement_signature"},
		"statement, assurance":    {func(s *pass.Statement) { s.Assurance = conclave.AssuranceManaged }, "statement_signature"},
		"statement, kind":         {func(s *pass.Statement) { s.Kind, s.Assurance = pass.KindGuest, conclave.AssuranceGuest }, "statement_signature"},
		"statement, times":        {func(s *pass.Statement) { s.NotAfter = s.NotAfter.Add(-time.Hour) }, "statement_signature"},
		"statement, signature":    {func(*pass.Statement) {}, "statement_signature"},
	} {
		one := *real
		v.change(&one)
		signed, err := pass.SignStatement(own, &one)
		if err != nil {
			t.Fatal(err)
		}
		x.enter(name, func(p *papers) { p.statement = signed }, v.want)
		want := "statement_invalid"
		if name == "statement, key" {
			want = "hello_signature" // it is not the key that signs
		}
		x.hello("hello, "+name, signed, nil, want)
	}
	old := x.w.EnrolAt("carla", time.Now().Add(-8*24*time.Hour))
	x.enter("statement of last week", func(p *papers) { p.statement = old.Statement }, "statement_expired")
	x.refused("hello, statement of last week", helloOf(t, x.w, old, x.meeting), "statement_expired")
}

// mixtures are papers in the place of others, or none.
func (x *mutating) mixtures() {
	x.t.Helper()
	for name, v := range map[string]struct {
		change func(*papers)
		want   string
	}{
		"no pass":                 {func(p *papers) { p.pass = nil }, "pass_missing"},
		"no proof":                {func(p *papers) { p.proof = nil }, "log_proof_missing"},
		"another's statement":     {func(p *papers) { p.statement = x.other.Statement }, "statement_key"},
		"a proof of another":      {func(p *papers) { p.proof = anotherProof(x.t, x.w, x.other, x.meeting) }, "log_proof_other"},
		"pass as statement":       {func(p *papers) { p.statement = p.pass }, "statement_malformed"},
		"statement as pass":       {func(p *papers) { p.pass = p.statement }, "pass_malformed"},
		"proof as pass":           {func(p *papers) { p.pass = p.proof }, "pass_malformed"},
		"an empty statement":      {func(p *papers) { p.statement = []byte{} }, "statement_malformed"},
		"a pass that is too long": {func(p *papers) { p.pass = append(p.pass, 0) }, "pass_malformed"},
		"a proof that is cut":     {func(p *papers) { p.proof = p.proof[:len(p.proof)/2] }, "log_proof_malformed"},
	} {
		x.enter(name, v.change, v.want)
	}
}

// hello says hello with a statement, and a signature that change makes other.
func (x *mutating) hello(what string, statement []byte, change func([]byte) []byte, want ...string) {
	x.t.Helper()
	r := connect(x.t, x.w)
	defer r.socket.CloseNow()
	h := &signal.Hello{Meeting: x.meeting, Statement: statement, Client: signal.Client{Kind: "headless"}}
	h.Signature = x.own.Sign(signal.HelloContent(r.nonce, x.meeting, x.w.Host, h.Client))
	if change != nil {
		h.Signature = change(h.Signature)
	}
	r.send(h)
	x.refused(what, refusal(r), want...)
}

func helloOf(t testing.TB, w *servertest.World, d *servertest.Device, m conclave.MeetingID) string {
	t.Helper()
	r := connect(t, w)
	defer r.socket.CloseNow()
	r.hello(d, m)
	return refusal(r)
}

// hellos changes statement and signature of what comes first: each octet of the statement once or twice, by a bit.
func (x *mutating) hellos() {
	x.t.Helper()
	x.refused("hello for another meeting", func() string {
		r := connect(x.t, x.w)
		defer r.socket.CloseNow()
		client := signal.Client{Kind: "headless"}
		r.send(&signal.Hello{Meeting: x.meeting, Statement: x.own.Statement, Client: client, Signature: x.own.Sign(signal.HelloContent(r.nonce, conclave.MeetingID{1}, x.w.Host, client))})
		return refusal(r)
	}(), "hello_signature")
	for name, content := range map[string]func(nonce []byte, c signal.Client) []byte{
		"hello for another server": func(n []byte, c signal.Client) []byte { return signal.HelloContent(n, x.meeting, "evil.example", c) },
		"hello for another connection": func(n []byte, c signal.Client) []byte {
			return signal.HelloContent(flipped(n, 9), x.meeting, x.w.Host, c)
		},
		"hello of another program": func(n []byte, c signal.Client) []byte {
			return signal.HelloContent(n, x.meeting, x.w.Host, signal.Client{Kind: "browser"})
		},
	} {
		r := connect(x.t, x.w)
		client := signal.Client{Kind: "headless"}
		r.send(&signal.Hello{Meeting: x.meeting, Statement: x.own.Statement, Client: client, Signature: x.own.Sign(content(r.nonce, client))})
		x.refused(name, refusal(r), "hello_signature")
		r.socket.CloseNow()
	}
	fields := statementSpans(x.t, x.own.Statement)
	for n := range 1500 {
		octet := n % (2 * len(x.own.Statement)) // the signature's turn comes as often
		if octet >= len(x.own.Statement) {
			x.hello("hello, signature", x.own.Statement, func(b []byte) []byte { return flipped(b, x.chance.IntN(8*len(b))) }, "hello_signature")
			continue
		}
		f := fields.at(octet)
		x.hello("hello, statement, "+f.name, flipped(x.own.Statement, 8*octet+x.chance.IntN(8)), nil, atHello(f.want)...)
	}
}

// octets changes a bit in each octet of the papers that a leaf brings, and has the commit signed over what came of it.
func (x *mutating) octets() {
	x.t.Helper()
	for _, one := range []struct {
		name   string
		of     func(*papers) *[]byte
		fields func(testing.TB, []byte) spans
	}{
		{"statement", func(p *papers) *[]byte { return &p.statement }, statementSpans},
		{"pass", func(p *papers) *[]byte { return &p.pass }, passSpans},
		{"proof", func(p *papers) *[]byte { return &p.proof }, proofSpans},
	} {
		p := x.i.papers()
		for octet := range len(*one.of(&p)) {
			p := x.i.papers() // those of now: a connection may have ended in between
			part := one.of(&p)
			if octet >= len(*part) {
				break
			}
			f := one.fields(x.t, *part).at(octet)
			*part = flipped(*part, 8*octet+x.chance.IntN(8))
			x.refused(one.name+", "+f.name, x.i.try(x.t, x.w, x.i.enter(p)), f.want...)
		}
	}
}

// commits changes bits of a commit and of what comes with it, which the intruder does not sign anew.
func (x *mutating) commits() {
	x.t.Helper()
	p := x.i.papers()
	good := x.i.enter(p)
	fields := commitSpans(x.t, good.Commit, p)
	for n := 0; x.total < mutations; n++ {
		e := *good
		switch n % 20 {
		case 0:
			e.GroupInfo = flipped(e.GroupInfo, x.chance.IntN(8*len(e.GroupInfo)))
			x.refused("group information", x.i.try(x.t, x.w, &e), "commit_refused")
		case 1:
			e.Epoch += 1 + x.chance.Uint64N(1000)
			x.refused("another epoch", x.i.try(x.t, x.w, &e), "stale")
		default:
			// Each octet has its turn: what is few octets long would else hardly be tried.
			octet := n % len(e.Commit)
			f := fields.at(octet)
			e.Commit = flipped(e.Commit, 8*octet+x.chance.IntN(8))
			x.refused("commit, "+f.name, x.i.try(x.t, x.w, &e), f.want...)
		}
	}
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
