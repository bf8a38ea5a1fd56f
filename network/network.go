// Package network tells what an address says of a line: its country, who operates its network and of what kind that is, and
// whether an organisation's list names it. It also reads what a TLS client's first message gives away of the program that
// sent it, and the calendar of places and days with a raised risk.
//
// All of it comes from files that the operator gives; nothing is asked of anybody while a meeting runs, and no address is
// kept. Addresses can be borrowed (a tunnel, a relay), so what stands here bounds a line from one side: it may lower the
// opinion of it, and only a network that the organisation itself has listed may raise it (package line).
//
// Sources: MaxMind DB file format 2.0; FoxIO, JA4 (BSD-licensed part); RFC 8701 (GREASE); ISO 3166-1.
package network

import (
	"crypto/sha256"
	"net/netip"

	"conclave/line"
)

// Kind is what a network is used for.
type Kind string

// The kinds of networks. The zero value is unknown.
const (
	KindApproved  Kind = "approved"  // the organisation's own, or a tunnel of its: lines from it are guarded
	KindHosting   Kind = "hosting"   // a data centre: nobody sits there
	KindTor       Kind = "tor"       // an exit of Tor
	KindVPN       Kind = "vpn"       // a tunnel of others, or another anonymising relay
	KindSatellite Kind = "satellite" //
	KindMobile    Kind = "mobile"    //
	KindISP       Kind = "isp"       //
	KindUnknown   Kind = "unknown"   // neither list nor database says anything
)

// kinds are those that a list may give.
var kinds = []Kind{KindApproved, KindHosting, KindTor, KindVPN, KindSatellite, KindMobile, KindISP}

// Country is a country's code in ISO 3166-1 alpha-2, in capitals; "" is unknown.
type Country string

// AS is the number of an autonomous system (RFC 6793); 0 is unknown.
type AS uint32

// Place is what is known of an address.
type Place struct {
	Country Country
	Kind    Kind // KindUnknown if nothing is known
	AS      AS
}

// Ground is all that is known of networks at one moment. It is immutable: whoever reads a file anew makes a new one.
type Ground struct {
	// Listed are the organisation's own lists; nil: none.
	Listed *List
	// Databases answer what the lists do not, the first that knows wins.
	Databases []*Database
	// Calendar is nil where there is none.
	Calendar *Calendar
	// Home are the countries in which nobody travels; none: travel is not looked at.
	Home []Country
}

// Place looks an address up. The zero address is unknown.
func (g *Ground) Place(a netip.Addr) Place {
	p := Place{Kind: KindUnknown}
	if !a.IsValid() {
		return p
	}
	a = a.Unmap().WithZone("")
	for _, d := range g.Databases {
		found := d.place(a)
		if p.Country == "" {
			p.Country = found.Country
		}
		if p.AS == 0 {
			p.AS = found.AS
		}
		if p.Kind == KindUnknown {
			p.Kind = found.Kind
		}
	}
	if g.Listed == nil {
		return p
	}
	if kind, ok := g.Listed.operators[p.AS]; ok && p.AS != 0 {
		p.Kind = kind
	}
	if e, ok := g.Listed.find(a); ok && e.kind != KindApproved {
		p.Kind = e.kind
	}
	return p
}

// Approved adds the approved networks of the list to those of the configuration.
func (g *Ground) Approved(configured line.Networks) line.Networks {
	if g.Listed == nil {
		return configured
	}
	return append(configured[:len(configured):len(configured)], g.Listed.approved...)
}

// AtHome says whether a country is one of those in which nobody travels.
func (g *Ground) AtHome(c Country) bool {
	for _, h := range g.Home {
		if h == c {
			return true
		}
	}
	return false
}

// Digest names all of it: what is known of addresses and of risks is the same where it is.
func (g *Ground) Digest() [sha256.Size]byte {
	h := sha256.New()
	part := func(label string, b []byte) {
		h.Write([]byte{byte(len(label))})
		h.Write([]byte(label))
		h.Write([]byte{byte(len(b))}) // a sum, or a country
		h.Write(b)
	}
	if g.Listed != nil {
		part("listed", g.Listed.sum[:])
	}
	for _, d := range g.Databases {
		part("database", d.sum[:])
	}
	if g.Calendar != nil {
		part("calendar", g.Calendar.sum[:])
	}
	for _, c := range g.Home {
		part("home", []byte(c))
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// ParseCountry reads two letters.
func ParseCountry(text string) (Country, bool) {
	if len(text) != 2 {
		return "", false
	}
	b := []byte(text)
	for i, c := range b {
		switch {
		case 'a' <= c && c <= 'z':
			b[i] = c - 'a' + 'A'
		case c < 'A' || c > 'Z':
			return "", false
		}
	}
	return Country(b), true
}
