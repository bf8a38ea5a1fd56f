package pass_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/pass"
	"conclave/pass/passtest"
)

var now = time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC)

// joining is one leaf with all that a member verifies it by.
type joining struct {
	org       *passtest.Organisation
	trust     *pass.Trust
	statement []byte
	pass      []byte
	want      pass.Want
}

func newJoining(t testing.TB) joining {
	org := passtest.New(t, "bund.example", now)
	key := passtest.Point(passtest.LeafKey(t))
	m := pass.MeetingContext{Meeting: conclave.MeetingID{1, 2, 3}, Level: 2, PolicyHash: [32]byte{9}}
	return joining{org, org.Trust(), org.Statement(key, "anna.weber", "Anna Weber"), org.Pass(key, m, now),
		pass.Want{LeafKey: key, Meeting: m}}
}

func code(err error) string {
	var p conclave.Problem
	if err == nil {
		return ""
	}
	if !errors.As(err, &p) {
		return "no problem: " + err.Error()
	}
	if p.Fix == "" {
		return "no fix: " + p.Code
	}
	return p.Code
}

func TestALeafWithStatementAndPassIsBelieved(t *testing.T) {
	j := newJoining(t)
	leaf, err := j.trust.Leaf(j.statement, j.pass, j.want, now)
	if err != nil {
		t.Fatal(err)
	}
	if leaf.Statement.Name != "Anna Weber" || leaf.Statement.Person != "anna.weber" || leaf.Pass.Grade != conclave.GradeSealed ||
		leaf.Pass.Device != leaf.Statement.Device() {
		t.Errorf("got %+q, %+q", leaf.Statement.Name, leaf.Statement.Person)
	}
	if keys := j.trust.RemovalKeys(now); len(keys) != 1 || !bytes.Equal(keys[0], passtest.Point(j.org.Removal)) {
		t.Errorf("got %d removal keys", len(keys))
	}
}

func TestChecksNameTheSignatureThatFails(t *testing.T) {
	j := newJoining(t)
	for i, want := range []string{"statement_signature", "pass_signature"} {
		_, checks, err := j.trust.Checks(j.statement, j.pass, j.want, now)
		if err != nil || len(checks) != 2 {
			t.Fatal(len(checks), err)
		}
		checks[i].Signature[0] ^= 1
		if got := code(checks[i].Verify()); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got := code(checks[1-i].Verify()); got != "" {
			t.Errorf("the other check failed: %s", got)
		}
	}
}

// Whatever is wrong with a leaf, though well signed, is refused with its own code.
func TestEachFieldOfALeafIsHeldAgainstTheRules(t *testing.T) {
	other := []byte{4, 64: 1}
	cases := []struct {
		name, code string
		change     func(j *joining, s *pass.Statement, p *pass.Pass)
	}{
		{"another organisation's statement", "organisation_unknown", func(_ *joining, s *pass.Statement, _ *pass.Pass) { s.Organisation = "evil.example" }},
		{"another leaf key", "statement_key", func(_ *joining, s *pass.Statement, _ *pass.Pass) { s.LeafKey = other }},
		{"another key in the leaf", "statement_key", func(j *joining, _ *pass.Statement, _ *pass.Pass) { j.want.LeafKey = other }},
		{"a gateway's own statement", "statement_key", func(_ *joining, s *pass.Statement, _ *pass.Pass) { s.Kind = pass.KindGateway }},
		{"no key in the leaf", "statement_key", func(j *joining, _ *pass.Statement, _ *pass.Pass) { j.want.LeafKey = nil }},
		{"a statement of yesterday", "statement_expired", func(_ *joining, s *pass.Statement, _ *pass.Pass) {
			s.NotBefore, s.NotAfter = now.Add(-time.Hour), now
		}},
		{"a statement of tomorrow", "statement_early", func(_ *joining, s *pass.Statement, _ *pass.Pass) {
			s.NotBefore = now.Add(pass.MaxSkew + time.Second)
		}},
		{"another organisation's pass", "organisation_unknown", func(_ *joining, _ *pass.Statement, p *pass.Pass) { p.Organisation = "evil.example" }},
		{"a pass for another meeting", "pass_meeting", func(_ *joining, _ *pass.Statement, p *pass.Pass) { p.Meeting[15] ^= 1 }},
		{"a pass for another device", "pass_device", func(_ *joining, _ *pass.Statement, p *pass.Pass) { p.Device[15] ^= 1 }},
		{"a pass for a lower level", "pass_level", func(_ *joining, _ *pass.Statement, p *pass.Pass) { p.Level-- }},
		{"a former policy that is none", "pass_policy", func(_ *joining, _ *pass.Statement, p *pass.Pass) { p.PolicyHash = [32]byte{} }},
		{"a pass under another policy", "pass_policy", func(_ *joining, _ *pass.Statement, p *pass.Pass) { p.PolicyHash[31] ^= 1 }},
		{"a pass that ran out", "pass_expired", func(_ *joining, _ *pass.Statement, p *pass.Pass) {
			p.NotBefore, p.NotAfter = now.Add(-time.Minute), now
		}},
		{"a pass from the future", "pass_early", func(_ *joining, _ *pass.Statement, p *pass.Pass) {
			p.NotBefore = now.Add(pass.MaxSkew + time.Second)
			p.NotAfter = p.NotBefore.Add(time.Minute)
		}},
	}
	for _, c := range cases {
		j := newJoining(t)
		s, _ := pass.ParseStatement(j.statement)
		p, _ := pass.ParsePass(j.pass)
		c.change(&j, s, p)
		var err error
		if j.statement, err = pass.SignStatement(j.org.Enrolment, s); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if j.pass, err = pass.SignPass(j.org.Admission, p); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if _, err := j.trust.Leaf(j.statement, j.pass, j.want, now); code(err) != c.code {
			t.Errorf("%s: got %q, want %s", c.name, code(err), c.code)
		}
	}
}

func TestKeysOfOneRoleSignNothingOfAnother(t *testing.T) {
	j := newJoining(t)
	s, _ := pass.ParseStatement(j.statement)
	p, _ := pass.ParsePass(j.pass)
	byAdmission, _ := pass.SignStatement(j.org.Admission, s)
	byEnrolment, _ := pass.SignPass(j.org.Enrolment, p)
	byRoot, _ := pass.SignPass(j.org.Root, p)
	for name, c := range map[string]struct {
		statement, pass []byte
		code            string
	}{
		"a statement by the admission key": {byAdmission, j.pass, "statement_signature"},
		"a pass by the enrolment key":      {j.statement, byEnrolment, "pass_signature"},
		"a pass by the root key":           {j.statement, byRoot, "pass_signature"},
		"a pass in place of the statement": {j.pass, j.pass, "statement_malformed"},
		"a statement in place of the pass": {j.statement, j.statement, "pass_malformed"},
		"no statement":                     {nil, j.pass, "statement_malformed"},
		"no pass":                          {j.statement, nil, "pass_malformed"},
	} {
		if _, err := j.trust.Leaf(c.statement, c.pass, j.want, now); code(err) != c.code {
			t.Errorf("%s: got %q, want %s", name, code(err), c.code)
		}
	}
}

// Every octet of what is signed counts: changed on the way, it is refused. 256 single-bit changes of each would add
// nothing that one does not show.
func TestNoOctetCanBeChangedOnTheWay(t *testing.T) {
	j := newJoining(t)
	for i := range j.statement {
		b := bytes.Clone(j.statement)
		b[i] ^= 1 << (i % 8)
		if _, err := j.trust.Leaf(b, j.pass, j.want, now); err == nil || strings.HasPrefix(code(err), "no ") {
			t.Errorf("statement octet %d: %q", i, code(err))
		}
	}
	for i := range j.pass {
		b := bytes.Clone(j.pass)
		b[i] ^= 1 << (i % 8)
		if _, err := j.trust.Leaf(j.statement, b, j.want, now); err == nil || strings.HasPrefix(code(err), "no ") {
			t.Errorf("pass octet %d: %q", i, code(err))
		}
	}
	for n, grant := range j.org.Grants {
		for i := range grant {
			b := bytes.Clone(grant)
			b[i] ^= 1 << (i % 8)
			grants := append([][]byte{b}, j.org.Grants...)
			if _, err := pass.NewTrust(j.org.ID, j.org.Root.Public().(ed25519.PublicKey), grants, now); err == nil || strings.HasPrefix(code(err), "no ") {
				t.Errorf("grant %d octet %d: %q", n, i, code(err))
			}
		}
	}
	for _, b := range [][]byte{j.statement[:len(j.statement)-1], append(bytes.Clone(j.statement), 0), make([]byte, pass.MaxSize+1)} {
		if _, err := j.trust.Statement(b, now); code(err) != "statement_malformed" {
			t.Errorf("%d octets: %q", len(b), code(err))
		}
	}
}

// A level is raised, and a policy changed, passes first: whoever has been ruled more strictly may stay.
func TestAPassForAHigherLevelOrUnderTheFormerPolicyCounts(t *testing.T) {
	j := newJoining(t)
	higher := j.want.Meeting
	higher.Level++
	if _, err := j.trust.Leaf(j.statement, j.org.Pass(j.want.LeafKey, higher, now), j.want, now); err != nil {
		t.Errorf("a pass for a higher level: %v", err)
	}
	changed := j.want
	changed.Meeting.FormerPolicy, changed.Meeting.PolicyHash = j.want.Meeting.PolicyHash, [32]byte{7}
	if _, err := j.trust.Leaf(j.statement, j.pass, changed, now); err != nil {
		t.Errorf("a pass under the former policy: %v", err)
	}
	changed.Meeting.FormerPolicy = [32]byte{}
	if _, err := j.trust.Leaf(j.statement, j.pass, changed, now); code(err) != "pass_policy" {
		t.Errorf("a pass under a policy of before: %q", code(err))
	}
}

func TestWhatAGroupIsForChangesUpwardsOnly(t *testing.T) {
	from := pass.MeetingContext{Meeting: conclave.MeetingID{1}, Level: 1, PolicyHash: [32]byte{1}}
	during := from
	during.PolicyHash, during.FormerPolicy = [32]byte{2}, [32]byte{1}
	for _, c := range []struct {
		name   string
		from   pass.MeetingContext
		change func(*pass.MeetingContext)
		good   bool
	}{
		{"nothing", from, func(*pass.MeetingContext) {}, false},
		{"a higher level", from, func(m *pass.MeetingContext) { m.Level = 3 }, true},
		{"a lower level", from, func(m *pass.MeetingContext) { m.Level = 0 }, false},
		{"another meeting", from, func(m *pass.MeetingContext) { m.Meeting[0]++; m.Level = 3 }, false},
		{"another policy", from, func(m *pass.MeetingContext) { *m = during }, true},
		{"another policy that knows no former", from, func(m *pass.MeetingContext) { m.PolicyHash = [32]byte{2} }, false},
		{"another policy that names a strange former", from, func(m *pass.MeetingContext) { *m = during; m.FormerPolicy[0]++ }, false},
		{"a strange former policy", from, func(m *pass.MeetingContext) { m.FormerPolicy = [32]byte{8} }, false},
		{"no former policy any more", during, func(m *pass.MeetingContext) { m.FormerPolicy = [32]byte{} }, true},
		{"a higher level meanwhile", during, func(m *pass.MeetingContext) { m.Level++ }, true},
		{"a lower level with another policy", during, func(m *pass.MeetingContext) { m.FormerPolicy, m.PolicyHash, m.Level = m.PolicyHash, [32]byte{3}, 0 }, false},
	} {
		next := c.from
		c.change(&next)
		if c.from.Follows(next) != c.good {
			t.Errorf("%s: got %v", c.name, !c.good)
		}
	}
}

// Ten thousand joins with something wrong: octets changed, cut, added, taken from another leaf, another meeting or another
// organisation of the same name. None is believed, each is refused with a code and a fix.
func TestNoMutatedJoinIsBelieved(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	j, foreign := newJoining(t), newJoining(t)
	other := passtest.Point(passtest.LeafKey(t))
	m := j.want.Meeting
	statements := [][]byte{j.statement, j.org.Statement(other, "jan.maas", "Jan Maas"), foreign.statement}
	elsewhere := m
	elsewhere.Meeting[0] ^= 1
	passes := [][]byte{j.pass, j.org.Pass(other, m, now), j.org.Pass(j.want.LeafKey, elsewhere, now),
		j.org.Pass(j.want.LeafKey, m, now.Add(-pass.MaxPassLife)), foreign.pass}
	codes := map[string]int{}
	for n := 0; n < 10_000; n++ {
		statement, p := statements[rng.IntN(len(statements))], passes[rng.IntN(len(passes))]
		switch rng.IntN(3) {
		case 0:
			statement = mutate(rng, statement, passes)
		case 1:
			p = mutate(rng, p, statements)
		}
		if bytes.Equal(statement, j.statement) && bytes.Equal(p, j.pass) {
			continue
		}
		_, err := j.trust.Leaf(statement, p, j.want, now)
		if c := code(err); err == nil || strings.HasPrefix(c, "no ") {
			t.Fatalf("join %d: %q", n, c)
		}
		codes[code(err)]++
	}
	if len(codes) < 8 {
		t.Errorf("only these codes: %v", codes)
	}
}

// mutate returns a changed copy of b.
func mutate(rng *rand.Rand, b []byte, others [][]byte) []byte {
	out := bytes.Clone(b)
	switch i := rng.IntN(len(out)); rng.IntN(5) {
	case 0:
		return out[:i]
	case 1:
		return slices.Insert(out, i, byte(rng.Uint32()))
	case 2:
		o := others[rng.IntN(len(others))]
		copy(out[i:], o[min(i, len(o)):])
		return out
	case 3:
		return slices.Delete(out, i, i+1)
	}
	for range 1 + rng.IntN(4) {
		out[rng.IntN(len(out))] ^= byte(1 + rng.IntN(255))
	}
	return out
}

func TestTrustTakesOnlyWhatTheRootGranted(t *testing.T) {
	org, evil := passtest.New(t, "bund.example", now), passtest.New(t, "bund.example", now)
	elsewhere := passtest.New(t, "evil.example", now)
	root := org.Root.Public().(ed25519.PublicKey)
	many := make([][]byte, pass.MaxGrants+1)
	for i := range many {
		many[i] = org.Grants[0]
	}
	for name, c := range map[string]struct {
		root   ed25519.PublicKey
		grants [][]byte
		at     time.Time
		code   string
	}{
		"all is well":            {root, org.Grants, now, ""},
		"another root's grants":  {root, evil.Grants, now, "grant_signature"},
		"one of another root's":  {root, append(org.Grants[:3:3], evil.Grants[1]), now, "grant_signature"},
		"another organisation's": {root, elsewhere.Grants, now, "organisation_unknown"},
		"no removal key":         {root, org.Grants[:2], now, "grant_missing"},
		"nothing":                {root, nil, now, "grant_missing"},
		"too many":               {root, many, now, "grant_malformed"},
		"all have run out":       {root, org.Grants, now.Add(366 * 24 * time.Hour), "grant_missing"},
		"none is valid yet":      {root, org.Grants, now.Add(-25 * time.Hour), "grant_missing"},
		"a short root":           {root[:31], org.Grants, now, "root_malformed"},
		"garbage among them":     {root, append(org.Grants[:3:3], []byte("x")), now, "grant_malformed"},
	} {
		if _, err := pass.NewTrust("bund.example", c.root, c.grants, c.at); code(err) != c.code {
			t.Errorf("%s: got %q, want %q", name, code(err), c.code)
		}
	}
}

func TestAKeyWhoseGrantRanOutSignsNothing(t *testing.T) {
	j := newJoining(t)
	late := now.Add(365*24*time.Hour + time.Minute)
	s, _ := pass.ParseStatement(j.statement)
	s.NotBefore, s.NotAfter = late, late.Add(time.Hour)
	b, _ := pass.SignStatement(j.org.Enrolment, s)
	if _, err := j.trust.Statement(b, late); code(err) != "grant_expired" {
		t.Errorf("got %q", code(err))
	}
	if keys := j.trust.RemovalKeys(late); len(keys) != 0 {
		t.Errorf("%d removal keys are left", len(keys))
	}
}

func TestANewAdmissionKeyStandsBesideTheOld(t *testing.T) {
	j := newJoining(t)
	_, fresh, _ := ed25519.GenerateKey(nil)
	b, err := pass.SignGrant(j.org.Root, &pass.Grant{Organisation: j.org.ID, Role: pass.RoleAdmission,
		Key: fresh.Public().(ed25519.PublicKey), NotBefore: now, NotAfter: now.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	trust, err := j.trust.With(append(j.trust.Grants(), b), now)
	if err != nil {
		t.Fatal(err)
	}
	p, _ := pass.ParsePass(j.pass)
	renewed, _ := pass.SignPass(fresh, p)
	for _, b := range [][]byte{j.pass, renewed} {
		if _, err := trust.Leaf(j.statement, b, j.want, now); err != nil {
			t.Error(code(err))
		}
	}
	if _, err := j.trust.Leaf(j.statement, renewed, j.want, now); code(err) != "pass_signature" {
		t.Errorf("the former Trust knows the new key: %q", code(err))
	}
}

func TestWhatBreaksALimitIsNotSigned(t *testing.T) {
	j := newJoining(t)
	for name, change := range map[string]func(s *pass.Statement, p *pass.Pass, g *pass.Grant){
		"no organisation": func(s *pass.Statement, p *pass.Pass, g *pass.Grant) { s.Organisation = "" },
		"a long organisation": func(s *pass.Statement, p *pass.Pass, g *pass.Grant) {
			g.Organisation = conclave.OrganisationID(strings.Repeat("o", 254))
		},
		"no person":                       func(s *pass.Statement, p *pass.Pass, g *pass.Grant) { s.Person = "" },
		"no name":                         func(s *pass.Statement, p *pass.Pass, g *pass.Grant) { s.Name = " " },
		"a long name":                     func(s *pass.Statement, p *pass.Pass, g *pass.Grant) { s.Name = strings.Repeat("n", 129) },
		"a name in two lines":             func(s *pass.Statement, p *pass.Pass, g *pass.Grant) { s.Name = "Anna\nWeber" },
		"a name turned round":             func(s *pass.Statement, p *pass.Pass, g *pass.Grant) { s.Name = "Anna \u202erebeW" },
		"a name with a letter unseen":     func(s *pass.Statement, p *pass.Pass, g *pass.Grant) { s.Name = "Anna\u200b Weber" },
		"a name with a hard space":        func(s *pass.Statement, p *pass.Pass, g *pass.Grant) { s.Name = "Anna\u00a0Weber" },
		"a unit with a mark of direction": func(s *pass.Statement, p *pass.Pass, g *pass.Grant) { s.Unit = "Interior\u200f" },
		"a name of no text":               func(s *pass.Statement, p *pass.Pass, g *pass.Grant) { s.Name = "\xff" },
		"a key of no curve":               func(s *pass.Statement, p *pass.Pass, g *pass.Grant) { s.LeafKey = make([]byte, 65) },
		"a long statement": func(s *pass.Statement, p *pass.Pass, g *pass.Grant) {
			s.NotAfter = s.NotBefore.Add(pass.MaxStatementLife + time.Second)
		},
		"an empty statement": func(s *pass.Statement, p *pass.Pass, g *pass.Grant) { s.NotAfter = s.NotBefore },
		"an assurance of 4":  func(s *pass.Statement, p *pass.Pass, g *pass.Grant) { s.Assurance = 4 },
		"a long pass": func(s *pass.Statement, p *pass.Pass, g *pass.Grant) {
			p.NotAfter = p.NotBefore.Add(pass.MaxPassLife + time.Second)
		},
		"a grade of 4":       func(s *pass.Statement, p *pass.Pass, g *pass.Grant) { p.Grade = 4 },
		"a role of 9":        func(s *pass.Statement, p *pass.Pass, g *pass.Grant) { g.Role = 9 },
		"an Ed25519 removal": func(s *pass.Statement, p *pass.Pass, g *pass.Grant) { g.Role = pass.RoleRemoval },
		"a long grant": func(s *pass.Statement, p *pass.Pass, g *pass.Grant) {
			g.NotAfter = g.NotBefore.Add(pass.MaxGrantLife + time.Second)
		},
		"a year of 10000": func(s *pass.Statement, p *pass.Pass, g *pass.Grant) {
			g.NotBefore = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
			g.NotAfter = g.NotBefore.Add(time.Hour)
		},
	} {
		s, _ := pass.ParseStatement(j.statement)
		p, _ := pass.ParsePass(j.pass)
		g, _ := pass.ParseGrant(j.org.Grants[0])
		change(s, p, g)
		_, errS := pass.SignStatement(j.org.Enrolment, s)
		_, errP := pass.SignPass(j.org.Admission, p)
		_, errG := pass.SignGrant(j.org.Root, g)
		if err := errors.Join(errS, errP, errG); err == nil {
			t.Errorf("%s was signed", name)
		}
	}
}

func TestMeetingContextComesBack(t *testing.T) {
	m := pass.MeetingContext{Meeting: conclave.MeetingID{7}, Level: 3, PolicyHash: [32]byte{1}}
	b, err := m.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if back, err := pass.ParseMeetingContext(b); err != nil || *back != m {
		t.Error(err)
	}
	for _, bad := range [][]byte{nil, b[:len(b)-1], append(bytes.Clone(b), 0), append([]byte{2}, b[1:]...)} {
		if _, err := pass.ParseMeetingContext(bad); code(err) != "meeting_malformed" {
			t.Errorf("%d octets: %q", len(bad), code(err))
		}
	}
}

func TestNothingPersonalReachesALog(t *testing.T) {
	j := newJoining(t)
	leaf, err := j.trust.Leaf(j.statement, j.pass, j.want, now)
	if err != nil {
		t.Fatal(err)
	}
	g, _ := pass.ParseGrant(j.org.Grants[0])
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	for _, v := range []any{leaf.Statement, *leaf.Statement, leaf.Pass, *leaf.Pass, g, *g} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb, v)
		}
		log.Info("test", "value", v)
	}
	for _, secret := range []string{"Anna", "anna", "416e6e61", "bund", "Test"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%q is in what was printed", secret)
		}
	}
}

func FuzzParse(f *testing.F) {
	j := newJoining(f)
	m, _ := (&pass.MeetingContext{}).MarshalBinary()
	for _, b := range append(j.org.Grants, j.statement, j.pass, m) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		type encoded interface{ MarshalBinary() ([]byte, error) }
		var parsed []encoded
		if x, err := pass.ParseGrant(b); err == nil {
			parsed = append(parsed, x)
		}
		if x, err := pass.ParseStatement(b); err == nil {
			parsed = append(parsed, x)
		}
		if x, err := pass.ParsePass(b); err == nil {
			parsed = append(parsed, x)
		}
		if x, err := pass.ParseMeetingContext(b); err == nil {
			parsed = append(parsed, x)
		}
		if x, err := pass.ParseReadiness(b); err == nil {
			parsed = append(parsed, x)
		}
		for _, x := range parsed {
			if back, err := x.MarshalBinary(); err != nil || !bytes.Equal(back, b) {
				t.Fatalf("%T: two encodings of one value: %v", x, err)
			}
		}
		_, err1 := j.trust.Statement(b, now)
		_, err2 := j.trust.Pass(b, now)
		if err1 == nil && !bytes.Equal(b, j.statement) || err2 == nil && !bytes.Equal(b, j.pass) {
			t.Fatal("believed without a signature")
		}
	})
}

func BenchmarkLeaf(b *testing.B) {
	j := newJoining(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := j.trust.Leaf(j.statement, j.pass, j.want, now); err != nil {
			b.Fatal(err)
		}
	}
}
