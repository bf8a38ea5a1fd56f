package sip

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
)

// Trunk is a peer that brings and takes calls: a PBX, a carrier's border.
type Trunk struct {
	Name     string         // in records and configuration: [a-z0-9-]
	Networks []netip.Prefix // that it speaks from; what comes from nowhere in all trunks' networks gets no answer at all
	// Certificates are the SHA-256 of client certificates, at least one of which must be shown on TLS; none: not asked for.
	Certificates [][sha256.Size]byte
	// User and Password are what it must know for each call (digest); User "" asks for nothing. They are also ours where it
	// asks us.
	User, Password, Realm string
	SHA256                bool // nothing weaker is taken in a digest

	// Target is where calls to it go, host:port; "" if none do. TargetNetwork is how.
	Target        string
	TargetNetwork Network
	// Domain stands behind the @ of numbers that we ring; "": Target's host.
	Domain string
	// Register has us register there, every RegisterEvery (0: 10 minutes).
	Register      bool
	RegisterEvery time.Duration
	// Calls is how many of its calls are taken at once, so that one trunk cannot keep all others out; 0: as many as there may be in all.
	Calls int
	// Prefixes are the beginnings of numbers ("+4930") and the hosts of addresses ("@pbx.example") that may be rung over it.
	Prefixes []string
}

// Roots are authorities for certificates.
type Roots struct{ Pool *x509.CertPool }

func (t *Trunk) check() error {
	if t.Name == "" || len(t.Name) > 64 || strings.Trim(t.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return fmt.Errorf("sip: a trunk's name is made of small letters, digits and hyphens")
	}
	if len(t.Networks) == 0 {
		return fmt.Errorf("sip: trunk %s: networks are missing", t.Name)
	}
	if slices.Contains(t.Certificates, [sha256.Size]byte{}) {
		return fmt.Errorf("sip: trunk %s: a certificate's sum is all zero", t.Name)
	}
	if t.User != "" && t.Password == "" {
		return fmt.Errorf("sip: trunk %s: password is missing", t.Name)
	}
	if t.Target != "" && t.TargetNetwork != UDP && t.TargetNetwork != TCP && t.TargetNetwork != TLS {
		return fmt.Errorf("sip: trunk %s: transport is udp, tcp or tls", t.Name)
	}
	if t.Register && (t.Target == "" || t.User == "") {
		return fmt.Errorf("sip: trunk %s: registering needs a target and a user", t.Name)
	}
	for _, p := range t.Prefixes {
		if !strings.HasPrefix(p, "+") && !strings.HasPrefix(p, "@") || len(p) < 2 {
			return fmt.Errorf("sip: trunk %s: a prefix is like +4930, or @host", t.Name)
		}
	}
	return nil
}

// holds says whether an address is the trunk's.
func (t *Trunk) holds(a netip.Addr) bool {
	return slices.ContainsFunc(t.Networks, func(p netip.Prefix) bool { return p.Contains(a.Unmap()) })
}

// MayRing says whether an address may be rung over the trunk.
func (t *Trunk) MayRing(address string) bool {
	if t.Target == "" {
		return false
	}
	for _, p := range t.Prefixes {
		if host, ok := strings.CutPrefix(p, "@"); ok {
			_, at, _ := strings.Cut(address, "@")
			at, _, _ = strings.Cut(at, ":")
			if strings.EqualFold(at, host) && strings.HasPrefix(address, "sip") {
				return true
			}
		} else if strings.HasPrefix(address, p) {
			return true
		}
	}
	return false
}

// known says whether an address is any trunk's.
func (s *Stack) known(a netip.Addr) bool {
	return slices.ContainsFunc(s.config.Trunks, func(t Trunk) bool { return t.holds(a) })
}

// dialled returns the call of ours that a request belongs to, where it comes back on the very TLS connection that the call was
// made over: its other end was verified when we dialled, and shows no client's certificate there.
func (s *Stack) dialled(r *sip.Request) *Call {
	if networkOf(r.Transport()) != TLS {
		return nil
	}
	if _, accepted := s.peers.certificate(r.Source()); accepted {
		return nil
	}
	c := s.dialogOf(r)
	if c == nil || !c.outgoing || c.network != TLS || c.peer() != r.Source() {
		return nil
	}
	return c
}

// trunkOf returns the trunk that a request comes from: by its address, and where the trunk shows certificates, by that. The
// first that fits is it; nil: nobody's.
func (s *Stack) trunkOf(r *sip.Request) *Trunk {
	source, err := netip.ParseAddrPort(r.Source())
	if err != nil {
		return nil
	}
	shown, _ := s.peers.certificate(r.Source()) // zero: none, and none of Certificates is
	for i := range s.config.Trunks {
		t := &s.config.Trunks[i]
		if !t.holds(source.Addr()) {
			continue
		}
		if len(t.Certificates) > 0 && (networkOf(r.Transport()) != TLS || !slices.Contains(t.Certificates, shown)) {
			continue
		}
		return t
	}
	return nil
}
