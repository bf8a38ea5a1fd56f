// Package line grades what lies between a person's ear and the room. It takes facts and returns a grade with findings:
// what stands in the way of a better one, or deserves a warning. It knows no policy: whether a grade is enough for a
// meeting is for package admission.
//
// Only proven facts raise a grade. What an endpoint claims can lower the opinion of its line, never lift it.
package line

import (
	"net/netip"
	"slices"
	"strings"

	"conclave"
)

// Networks are the networks from which a line counts as guarded, with the names that people see.
type Networks []Network

// Network is one approved network or tunnel.
type Network struct {
	Name   string // shown as the fact "network", for instance "headquarters"; at most 64 bytes
	Prefix netip.Prefix
}

// Find returns the smallest network that holds a. IPv4 addresses within IPv6 count as IPv4.
func (n Networks) Find(a netip.Addr) (Network, bool) {
	a = a.Unmap().WithZone("")
	best, found := Network{}, false
	for _, one := range n {
		if one.Prefix.Contains(a) && (!found || one.Prefix.Bits() > best.Prefix.Bits()) {
			best, found = one, true
		}
	}
	return best, found
}

// Kind says by what a leg comes in, as far as the server itself can tell.
type Kind uint8

// The kinds of lines. The zero value is the weakest.
const (
	KindUnknown  Kind = iota
	KindPhone         // an ordinary phone: our gateway cannot protect what lies beyond it
	KindHop           // encrypted to our phone gateway (SIP over TLS with SRTP, RFC 3711)
	KindEndpoint      // our client: media are end-to-end encrypted, or do not flow
)

// Input is all that is known of a line.
type Input struct {
	Kind     Kind
	Enrolled bool            // the endpoint has proven to hold the key of a valid device statement
	Address  netip.Addr      // where its signalling comes from, proxies taken off; zero if unknown
	Proven   []conclave.Fact // further facts that the server has checked itself
	Claimed  []conclave.Fact // by the endpoint; marked as claimed whatever they say
}

// Assessment is what the facts amount to.
type Assessment struct {
	Grade    conclave.Grade
	Facts    []conclave.Fact    // proven ones first; no address among them
	Findings []conclave.Problem // worst first; empty if there is nothing to say
}

// Names of facts that this package makes or reads. Endpoints may claim others.
const (
	FactKind     = "kind"     // proven: "endpoint", "hop", "phone", "unknown"
	FactEnrolled = "enrolled" // proven: "yes", "no"
	FactNetwork  = "network"  // proven: an approved network's name, or "unlisted"
	FactHeadset  = "headset"  // claimed: the label of the sound device in use
	FactRadio    = "radio"    // claimed: "yes" if that label says so, or the endpoint itself
	FactAlone    = "alone"    // claimed: "yes", "no"
)

// Assess grades a line.
func Assess(in Input, networks Networks) Assessment {
	network, listed := networks.Find(in.Address)
	name := "unlisted"
	if listed {
		name = network.Name
	}
	a := Assessment{Grade: grade(in, listed)}
	a.Facts = append(a.Facts,
		conclave.Fact{Name: FactKind, Value: in.Kind.String(), Proven: true},
		conclave.Fact{Name: FactEnrolled, Value: yesNo(in.Enrolled), Proven: true},
		conclave.Fact{Name: FactNetwork, Value: name, Proven: true})
	for _, f := range in.Proven {
		f.Proven = true
		a.Facts = append(a.Facts, f)
	}
	for _, f := range in.Claimed {
		f.Proven = false
		if f.Name == "" || slices.ContainsFunc(a.Facts, func(g conclave.Fact) bool { return g.Name == f.Name }) {
			continue // nobody claims what is proven, or two things at once
		}
		a.Facts = append(a.Facts, f)
	}
	a.Facts = withRadio(a.Facts)
	a.Findings = findings(in, a)
	return a
}

// radioLabels are what the labels of wireless sound devices contain, in small letters. What has none of them may be
// wireless all the same.
var radioLabels = []string{"bluetooth", "airpods", "buds", "hands-free", "handsfree"}

// withRadio adds the claim that a sound device is wireless if its label says so, whatever else the endpoint says of it.
func withRadio(facts []conclave.Fact) []conclave.Fact {
	isRadio := func(f conclave.Fact) bool {
		return f.Name == FactHeadset && slices.ContainsFunc(radioLabels, func(r string) bool {
			return strings.Contains(strings.ToLower(f.Value), r)
		})
	}
	if !slices.ContainsFunc(facts, isRadio) {
		return facts
	}
	facts = slices.DeleteFunc(facts, func(f conclave.Fact) bool { return f.Name == FactRadio && !f.Proven })
	return slices.Insert(facts, slices.IndexFunc(facts, isRadio)+1, conclave.Fact{Name: FactRadio, Value: "yes"})
}

func grade(in Input, listed bool) conclave.Grade {
	switch {
	case in.Kind == KindEndpoint && in.Enrolled && listed:
		return conclave.GradeGuarded
	case in.Kind == KindEndpoint && in.Enrolled:
		return conclave.GradeSealed
	case in.Kind == KindHop:
		return conclave.GradeHop
	}
	return conclave.GradeOpen
}

func findings(in Input, a Assessment) []conclave.Problem {
	var out []conclave.Problem
	switch {
	case in.Kind == KindPhone, in.Kind == KindUnknown:
		out = append(out, conclave.Problem{Code: "line_open", Fix: "use_enrolled_device"})
	case in.Kind == KindHop:
		out = append(out, conclave.Problem{Code: "line_hop", Fix: "use_enrolled_device"})
	case !in.Enrolled:
		out = append(out, conclave.Problem{Code: "device_not_enrolled", Fix: "enrol_device"})
	}
	for _, f := range a.Facts {
		if f.Proven {
			continue
		}
		switch {
		case f.Name == FactAlone && f.Value == "no":
			out = append(out, conclave.Problem{Code: "not_alone", Fix: "be_alone"})
		case f.Name == FactRadio && f.Value == "yes":
			out = append(out, conclave.Problem{Code: "headset_radio", Fix: "use_wired_headset"})
		}
	}
	return out
}

// String returns the kind's word.
func (k Kind) String() string {
	switch k {
	case KindPhone:
		return "phone"
	case KindHop:
		return "hop"
	case KindEndpoint:
		return "endpoint"
	}
	return "unknown"
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
