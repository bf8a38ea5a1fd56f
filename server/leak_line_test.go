package server_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/admission"
	"conclave/audit"
	"conclave/endpoint"
	"conclave/identity"
	"conclave/identity/passkey/passkeytest"
	"conclave/line"
	"conclave/network"
	"conclave/server"
	"conclave/server/servertest"
	"conclave/signal"
)

// Leaks over a line, replayed against a server that finds out of the line what it can: each is kept out by one rule of the
// default policy, with the code and the way out that the person is shown, and gets no key. With that rule taken out of the
// policy the very same line is let in.

// officersLine is how the officer comes, who chairs the meeting: nobody outranks policy. The zero value is a line that is
// good enough for everything.
type officersLine struct {
	from    string        // the address that a proxy saw; "": this machine's, which is an approved network
	curves  []tls.CurveID // nil: this program's own
	client  signal.Client // zero: this program
	claims  []conclave.Fact
	clear   bool // without TLS
	untouch bool // without a touch of the passkey
}

// scene is a world in which the officer comes on a line.
type scene struct {
	*servertest.World
	t       *testing.T
	line    officersLine
	key     *passkeytest.Authenticator
	officer *servertest.Device
	meeting conclave.MeetingID
}

// around is the days around today.
func around() (from, until string) {
	return time.Now().Add(-24 * time.Hour).Format(time.DateOnly), time.Now().Add(48 * time.Hour).Format(time.DateOnly)
}

// scenery is what the server knows of the world, read as an operator's files are: the countries of all addresses, an air show.
func scenery(t *testing.T, policy *admission.Policy) func() (server.Ground, error) {
	t.Helper()
	countries, err := network.OpenDatabase("../test/node_modules/@ip-location-db/geo-whois-asn-country-mmdb/geo-whois-asn-country.mmdb")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the database of countries is fetched by make test")
	}
	if err != nil {
		t.Fatal(err)
	}
	from, until := around()
	return func() (server.Ground, error) {
		calendar, err := network.ParseCalendar(fmt.Appendf(nil, "SG | %s | %s | Singapore Airshow", from, until))
		return server.Ground{Policy: policy, Networks: line.Networks{{Name: "headquarters", Prefix: netip.MustParsePrefix("127.0.0.0/8")}},
			Places: &network.Ground{Databases: []*network.Database{countries}, Calendar: calendar, Home: []network.Country{"DE"}}}, err
	}
}

func newScene(t *testing.T, policy *admission.Policy, level string, l officersLine) *scene {
	t.Helper()
	o := servertest.Options{Policy: policy, TLS: !l.clear, Reload: scenery(t, policy)}
	if l.from != "" {
		o.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	}
	s := &scene{World: byName(servertest.StartWith(t, o)), t: t, line: l}
	adminPost(t, s.World, "/policy/reload", "{}")
	s.AddPerson("officer", "The officer")
	s.key = passkeytest.New(t, "localhost", s.URL, passkeytest.NewMaker(t))
	s.officer = enrolWithPasskey(t, s.World, "officer", s.key)
	wanted, _ := admission.DefaultLevels().Find(level)
	s.meeting = s.OpenMeetingWith(identity.Meeting{Title: "Closed", Level: wanted, Chair: "officer", People: []conclave.PersonID{"officer"}, Door: identity.DoorInvited})
	return s
}

// comes has the officer ask to join, touch included, and returns the connection with what was found of the line.
func (s *scene) comes() (*raw, *signal.Line) {
	s.t.Helper()
	r := connectFrom(s.t, s.World, s.line.from, s.line.curves...)
	client := s.line.client
	if client.Kind == "" {
		client.Kind = "headless"
	}
	r.send(&signal.Hello{Meeting: s.meeting, Statement: s.officer.Statement, Signature: s.officer.Sign(signal.HelloContent(r.nonce, s.meeting, s.Host, client)),
		Client: client, Facts: s.line.claims})
	found := expect[*signal.Line](r)
	join := &signal.Join{Facts: s.line.claims}
	if a := found.Assertion; a != nil && !s.line.untouch {
		fingerprint := sha256.Sum256([]byte("the certificate of this end"))
		challenge := signal.TouchOf(signal.AssertionContent(a.Nonce, s.officer.Point, s.meeting, fingerprint[:], a.ServerFingerprint, s.Host))
		join.Fingerprint, join.Assertion = fingerprint[:], json.RawMessage(s.key.Get(challenge[:]))
	}
	r.send(join)
	return r, found
}

// keptOut plays a leak: the officer is kept out for this reason alone, with this fix, and without the rule he is in.
func keptOut(t *testing.T, level string, l officersLine, reason, fix string) {
	t.Helper()
	t.Run("kept out", func(t *testing.T) {
		s := newScene(t, admission.Default(), level, l)
		r, _ := s.comes()
		s.refused(r, reason, fix)
	})
	t.Run("without the rule in", func(t *testing.T) {
		s := newScene(t, without(t, reason), level, l)
		r, _ := s.comes()
		if a := expect[*signal.Admitted](r); len(a.Pass) == 0 {
			t.Error("admitted without a pass")
		}
	})
}

// refused holds that the answer is a refusal for one reason, or where two may waive it a place aside, that nothing of a group came with
// it, and that the record has it.
func (s *scene) refused(r *raw, reason, fix string) {
	s.t.Helper()
	var reasons []conclave.Problem
	switch m := r.next().(type) {
	case *signal.Refused:
		reasons = m.Reasons
	case *signal.Quarantined:
		if reasons = m.Reasons; m.Level != "" {
			s.t.Errorf("told the level %s", m.Level)
		}
	default:
		s.t.Fatalf("answered with %T %+v", m, m)
	}
	if len(reasons) != 1 || reasons[0].Code != reason || reasons[0].Fix != fix {
		s.t.Errorf("kept out with %+v, want %s and %s", reasons, reason, fix)
	}
	passes := 0
	for _, e := range s.Records() {
		if e.Record.Kind == audit.KindPass {
			passes++
		}
		if e.Record.Kind == audit.KindRuling && (e.Record.Outcome != "refuse" || !slices.Contains(e.Record.Codes, reason)) {
			s.t.Errorf("recorded %+v", e.Record)
		}
	}
	if passes > 0 {
		s.t.Errorf("%d passes were signed", passes)
	}
}

// singapore, hotel: addresses that the database has in Singapore, and in Germany.
const (
	singapore = "202.156.1.1"
	hotel     = "84.128.1.1"
)

// On a good line the officer is in, at every level: what keeps him out below is the one thing that is other.
func TestOnAGoodLineTheOfficerIsIn(t *testing.T) {
	for _, level := range []string{"INTERNAL", "RESTRICTED", "CONFIDENTIAL"} {
		s := newScene(t, admission.Default(), level, officersLine{})
		r, found := s.comes()
		expect[*signal.Admitted](r)
		for _, want := range []conclave.Fact{proven("tls", "1.3"), proven("tls_pq", "yes"), proven("tls_client", "matches"), proven("network", "headquarters")} {
			if !slices.Contains(found.Facts, want) {
				t.Errorf("%s: %v is not among %v", level, want, found.Facts)
			}
		}
	}
}

// Salt Typhoon, 2024: what is kept today is opened when it can be. A program that agrees on keys in the old way alone.
func TestLeakACarrierThatIsTapped(t *testing.T) {
	keptOut(t, "CONFIDENTIAL", officersLine{curves: []tls.CurveID{tls.X25519}}, "transport_classical", "update_client")
	t.Run("in the clear", func(t *testing.T) {
		keptOut(t, "CONFIDENTIAL", officersLine{clear: true}, "transport_open", "use_https")
	})
	t.Run("opened on the way", func(t *testing.T) {
		// What the page says that it runs in, and what TLS arrives: a middlebox that opens it.
		chrome := signal.Client{Kind: "browser", Name: "Conclave", Agent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"}
		keptOut(t, "RESTRICTED", officersLine{client: chrome}, "tls_intercepted", "use_other_network")
	})
}

// CVE-2025-20700 and WhisperPair: headsets that others can listen to from outside the room, as the page says of its devices.
func TestLeakAHeadsetByRadio(t *testing.T) {
	keptOut(t, "CONFIDENTIAL", officersLine{claims: []conclave.Fact{{Name: "headset", Value: "yes"}, {Name: "radio", Value: "yes"}}}, "headset_radio", "use_wired_headset")
}

// A hotel: its network is nobody's whom we know, and its walls may have ears.
func TestLeakARoomWithEars(t *testing.T) {
	keptOut(t, "CONFIDENTIAL", officersLine{from: hotel}, "network_not_approved", "use_approved_network")
	t.Run("with others in the room", func(t *testing.T) {
		keptOut(t, "CONFIDENTIAL", officersLine{claims: []conclave.Fact{{Name: "alone", Value: "no"}}}, "not_alone", "be_alone")
	})
	// Below that an enrolled device is sealed from end to end over any network: to forbid it would send him to his telephone.
	s := newScene(t, admission.Default(), "RESTRICTED", officersLine{from: hotel})
	r, found := s.comes()
	expect[*signal.Admitted](r)
	if !slices.Contains(found.Facts, proven("country", "DE")) || slices.ContainsFunc(found.Facts, func(f conclave.Fact) bool { return strings.HasPrefix(f.Name, "tls") }) {
		t.Errorf("found %v", found.Facts)
	}
}

// Taurus, 2024: from the air show, on a trip that nobody had announced. Once it is announced he comes in over the very same
// connection, and the records say on what that rested.
func TestLeakTaurusFromTheAirShow(t *testing.T) {
	keptOut(t, "RESTRICTED", officersLine{from: singapore}, "travel_unannounced", "announce_trip")
	s := newScene(t, admission.Default(), "RESTRICTED", officersLine{from: singapore})
	r, found := s.comes()
	for _, want := range []conclave.Fact{proven("country", "SG"), proven("travel", "unannounced"), proven("risk", "raised")} {
		if !slices.Contains(found.Facts, want) {
			t.Errorf("%v is not among %v", want, found.Facts)
		}
	}
	s.refused(r, "travel_unannounced", "announce_trip")
	from, until := around()
	adminPost(t, s.World, "/people/officer/trips", fmt.Sprintf(`{"country":"SG","from":%q,"until":%q}`, from, until))
	r.send(&signal.Join{})
	expect[*signal.Admitted](r)
	// At CONFIDENTIAL a room there has ears, announced or not.
	t.Run("announced, at CONFIDENTIAL", func(t *testing.T) {
		for _, c := range []struct {
			policy *admission.Policy
			want   []string
		}{{admission.Default(), []string{"network_not_approved", "risk_raised"}}, {without(t, "network_not_approved"), []string{"risk_raised"}}, {without(t, "network_not_approved", "risk_raised"), nil}} {
			s := newScene(t, c.policy, "CONFIDENTIAL", officersLine{from: singapore})
			adminPost(t, s.World, "/people/officer/trips", fmt.Sprintf(`{"country":"SG","from":%q,"until":%q}`, from, until))
			r, _ := s.comes()
			if c.want == nil {
				expect[*signal.Admitted](r)
			} else if got := codes(expect[*signal.Quarantined](r).Reasons); !slices.Equal(slices.Sorted(slices.Values(got)), c.want) {
				t.Errorf("kept out with %v, want %v", got, c.want)
			}
		}
	})
}

// called is what a caller with a right code is told, and whether the chair could let the call in.
func called(t *testing.T, policy *admission.Policy, level string, l signal.PhoneLine) (answer *signal.CallAnswer, in bool) {
	t.Helper()
	w := servertest.StartWith(t, servertest.Options{Policy: policy})
	ctx := context.Background()
	chair := w.Enrol("chief")
	w.AddPerson("officer", "The officer")
	wanted, _ := admission.DefaultLevels().Find(level)
	open := w.OpenMeeting("chief", "officer") // a call may be good for something: the line alone is no reason to ask for no code
	meeting := w.OpenMeetingWith(identity.Meeting{Title: "Closed", Level: wanted, Chair: "chief", People: []conclave.PersonID{"chief", "officer"}, Door: identity.DoorInvited})
	var code string
	for _, m := range []conclave.MeetingID{open, meeting} {
		var err error
		if code, _, err = w.Server.Directory().IssuePhoneCode(ctx, "officer", m, 0, rand.Reader, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	chief := come(t, w, chair, "chief", meeting).in()
	g := connectGateway(t, w, enrolGateway(t, w)).living()
	id := signal.NewCallID()
	if s := g.came(id, l); !s.Ask {
		t.Fatalf("the call is not asked for its code: %v", codes(s.Reasons))
	}
	key := w.NewDevice()
	g.send(&signal.CallCode{Call: id, Code: code, LeafKey: key.Point, Proof: key.Sign(signal.CallContent(g.nonce, id))})
	answer = told[*signal.CallAnswer](g)
	if len(answer.Statement) == 0 {
		_, before := chief.keys.now()
		if passes := kindsOf(w, meeting, audit.KindPass); len(passes) != 1 || before == nil {
			t.Errorf("%d passes: the chief's alone is to be", len(passes))
		}
		return answer, false
	}
	key.Statement = answer.Statement
	phone := come(t, w, key, "officer", meeting)
	phone.await("the door", 0, state(endpoint.StateWaiting))
	var leg conclave.LegID
	chief.await("the door", 0, func(e endpoint.Event) bool {
		if e.Roster == nil || len(e.Roster.Waiting) == 0 {
			return false
		}
		leg = e.Roster.Waiting[0].Leg
		return true
	})
	chief.Decide(leg, true)
	phone.in()
	alike(t, chief, phone)
	return answer, true
}

// Nuland 2014, Sondland 2019, Witkoff 2025; Taurus 2024, with a telephone in a restricted meeting: the call as the gateway
// announces it, with a right code. No key, whatever the chair would like; without the rules the chair lets it in.
func TestLeakAnOpenPhone(t *testing.T) {
	for _, c := range []struct {
		level string
		line  signal.PhoneLine
		rules []string
	}{
		{"INTERNAL", signal.PhoneOpen, []string{"line_too_weak"}},
		{"RESTRICTED", signal.PhoneOpen, []string{"line_too_weak", "device_too_weak"}},
		{"RESTRICTED", signal.PhoneHop, []string{"line_too_weak", "device_too_weak"}}, // the carrier behind the trunk is tapped
	} {
		t.Run(c.level+" "+string(c.line), func(t *testing.T) {
			a, in := called(t, admission.Default(), c.level, c.line)
			if in || !a.Right || !slices.Equal(codes(a.Reasons), c.rules) || a.Reasons[0].Fix != "use_enrolled_device" {
				t.Errorf("in: %v, %+v", in, a.Reasons)
			}
			if _, in := called(t, without(t, c.rules...), c.level, c.line); !in {
				t.Error("without the rules it is still kept out: this test shows nothing")
			}
		})
	}
}
