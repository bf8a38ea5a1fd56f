package line

import (
	"net/netip"
	"slices"
	"testing"

	"conclave"
)

var networks = Networks{
	{Name: "headquarters", Prefix: netip.MustParsePrefix("192.0.2.0/24")},
	{Name: "operations", Prefix: netip.MustParsePrefix("192.0.2.128/25")},
	{Name: "tunnel", Prefix: netip.MustParsePrefix("2001:db8::/32")},
}

func TestALineIsGradedByWhatIsProven(t *testing.T) {
	for name, c := range map[string]struct {
		in      Input
		grade   conclave.Grade
		network string
		code    string // of the first finding
	}{
		"an enrolled device abroad":          {Input{Kind: KindEndpoint, Enrolled: true, Address: netip.MustParseAddr("198.51.100.1")}, conclave.GradeSealed, "unlisted", ""},
		"an enrolled device at headquarters": {Input{Kind: KindEndpoint, Enrolled: true, Address: netip.MustParseAddr("192.0.2.1")}, conclave.GradeGuarded, "headquarters", ""},
		"the smaller network names it":       {Input{Kind: KindEndpoint, Enrolled: true, Address: netip.MustParseAddr("192.0.2.200")}, conclave.GradeGuarded, "operations", ""},
		"IPv4 within IPv6":                   {Input{Kind: KindEndpoint, Enrolled: true, Address: netip.MustParseAddr("::ffff:192.0.2.1")}, conclave.GradeGuarded, "headquarters", ""},
		"an address with a zone":             {Input{Kind: KindEndpoint, Enrolled: true, Address: netip.MustParseAddr("2001:db8::1%eth0")}, conclave.GradeGuarded, "tunnel", ""},
		"no address":                         {Input{Kind: KindEndpoint, Enrolled: true}, conclave.GradeSealed, "unlisted", ""},
		"not enrolled, at headquarters":      {Input{Kind: KindEndpoint, Address: netip.MustParseAddr("192.0.2.1")}, conclave.GradeOpen, "headquarters", "device_not_enrolled"},
		"a phone at headquarters":            {Input{Kind: KindPhone, Enrolled: true, Address: netip.MustParseAddr("192.0.2.1")}, conclave.GradeOpen, "headquarters", "line_open"},
		"a secure phone":                     {Input{Kind: KindHop}, conclave.GradeHop, "unlisted", "line_hop"},
		"nothing known":                      {Input{}, conclave.GradeOpen, "unlisted", "line_open"},
	} {
		a := Assess(c.in, networks)
		first := ""
		if len(a.Findings) > 0 {
			first = a.Findings[0].Code
		}
		if a.Grade != c.grade || first != c.code || !slices.Contains(a.Facts, conclave.Fact{Name: FactNetwork, Value: c.network, Proven: true}) {
			t.Errorf("%s: got %v, %q, %v", name, a.Grade, first, a.Facts)
		}
	}
}

func TestClaimsNeverRaiseAGrade(t *testing.T) {
	for _, claim := range []conclave.Fact{
		{Name: FactEnrolled, Value: "yes"}, {Name: FactNetwork, Value: "headquarters"},
		{Name: FactKind, Value: "endpoint", Proven: true}, {Name: "grade", Value: "guarded", Proven: true}, {},
	} {
		a := Assess(Input{Kind: KindEndpoint, Claimed: []conclave.Fact{claim}}, networks)
		if a.Grade != conclave.GradeOpen {
			t.Errorf("%v: got %v", claim, a.Grade)
		}
		proven := 0
		for _, f := range a.Facts {
			if f.Proven {
				proven++
			}
		}
		if proven != 3 {
			t.Errorf("%v: it is among the proven facts: %v", claim, a.Facts)
		}
	}
}

func TestClaimsCanWarn(t *testing.T) {
	a := Assess(Input{Kind: KindEndpoint, Enrolled: true, Claimed: []conclave.Fact{
		{Name: FactHeadset, Value: "WH-1000 (Bluetooth)"}, {Name: FactAlone, Value: "no"}, {Name: FactAlone, Value: "yes"}}}, nil)
	var codes []string
	for _, p := range a.Findings {
		codes = append(codes, p.Code)
	}
	if !slices.Equal(codes, []string{"headset_radio", "not_alone"}) {
		t.Errorf("got %v", codes)
	}
}

// The label decides; an endpoint that says otherwise of its own headset is not believed.
func TestALabelTellsOfRadio(t *testing.T) {
	for _, c := range []struct {
		label, own string
		radio      bool
	}{
		{"WH-1000 (Bluetooth)", "", true}, {"Anna's AirPods Pro", "no", true}, {"Hands-Free AG Audio", "", true},
		{"USB headset", "", false}, {"USB headset", "yes", true}, {"", "", false},
	} {
		in := Input{Kind: KindEndpoint, Enrolled: true}
		if c.own != "" {
			in.Claimed = append(in.Claimed, conclave.Fact{Name: FactRadio, Value: c.own, Proven: true})
		}
		if c.label != "" {
			in.Claimed = append(in.Claimed, conclave.Fact{Name: FactHeadset, Value: c.label})
		}
		a := Assess(in, nil)
		said := 0
		for _, f := range a.Facts {
			if f.Name == FactRadio {
				said++
			}
		}
		warned := slices.ContainsFunc(a.Findings, func(p conclave.Problem) bool { return p.Code == "headset_radio" })
		if got := slices.Contains(a.Facts, conclave.Fact{Name: FactRadio, Value: "yes"}); got != c.radio || warned != c.radio || said > 1 {
			t.Errorf("%+v: got %v, %v", c, a.Facts, a.Findings)
		}
	}
}
