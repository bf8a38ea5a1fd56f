package network

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Hello is what a TLS client's first message gives away of the program that sent it. Who stands between a browser and us
// and opens TLS sends a hello of its own, which most often is not that of a browser. One who takes care can imitate any:
// a hello that differs says much, one that matches says little.
type Hello struct {
	// JA4 is the message's fingerprint, for instance "t13d1517h2_8daaf6152771_…". Programs of one version share it.
	JA4    string
	family family
}

// family is a group of programs that share a TLS library.
type family uint8

const (
	familyOther   family = iota
	familyBoring         // Chromium, Edge, Safari: GREASE and compressed certificates
	familyFirefox        // NSS: delegated credentials and a limit of record sizes
	familyGo             // crypto/tls: our headless endpoints
)

// The numbers of extensions (IANA, TLS ExtensionType Values).
const (
	extServerName           = 0
	extALPN                 = 16
	extSCT                  = 18
	extEncryptThenMAC       = 22 // OpenSSL sends it, browsers do not
	extCompressCertificate  = 27
	extRecordSizeLimit      = 28
	extDelegatedCredentials = 34
)

// NewHello reads a hello.
func NewHello(h *tls.ClientHelloInfo) Hello { return Hello{JA4: ja4(h), family: familyOf(h)} }

func familyOf(h *tls.ClientHelloInfo) family {
	has := func(ext uint16) bool { return slices.Contains(h.Extensions, ext) }
	grease := slices.ContainsFunc(h.Extensions, isGrease) && slices.ContainsFunc(h.CipherSuites, isGrease)
	switch {
	case has(extEncryptThenMAC):
		return familyOther
	case grease && has(extCompressCertificate):
		return familyBoring
	case !grease && has(extDelegatedCredentials) && has(extRecordSizeLimit):
		return familyFirefox
	case !grease && has(extSCT) && !has(extRecordSizeLimit) && !has(extCompressCertificate):
		return familyGo
	}
	return familyOther
}

// Match says how a hello fits a program.
type Match string

// How a hello can fit.
const (
	Matches Match = "matches"
	Differs Match = "differs" // somebody else speaks TLS with us than who says to
	Unknown Match = "unknown" // nobody here knows how that program's hellos look
)

// The kinds of programs that have hellos to know.
const (
	Browser  = "browser"
	Headless = "headless" // ours
	Phone    = "phone"    // our gateway
)

// Claimed holds the hello against the program that the endpoint says to be: its kind and, of a browser, what that calls
// itself. Both must come from the endpoint itself: the headers of a request are for anybody on its way to rewrite. A browser
// that nobody knows differs: whoever opens the TLS on the way would only have to have it be one.
func (h Hello) Claimed(kind, agent string) Match {
	if h.JA4 == "" {
		return Unknown
	}
	want := familyOther
	switch has := func(s string) bool { return strings.Contains(agent, s) }; {
	case kind == Headless, kind == Phone:
		want = familyGo
	case kind != Browser:
		return Unknown
	case has("iPhone"), has("iPad"): // every browser there uses Apple's library
		want = familyBoring
	case has("Firefox/"):
		want = familyFirefox
	case has("Chrome/"), has("Version/") && has("Safari/"):
		want = familyBoring
	}
	if want == familyOther || want != h.family {
		return Differs
	}
	return Matches
}

// isGrease tells the values that mean nothing and that clients mix in to keep servers tolerant (RFC 8701, Section 2).
func isGrease(v uint16) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff }

// ja4 computes the fingerprint for TCP: version, whether a name is asked for, counts, first protocol, then hashes of the
// sorted ciphers and of the sorted extensions with the signature schemes in their order.
func ja4(h *tls.ClientHelloInfo) string {
	name := 'i'
	if h.ServerName != "" {
		name = 'd'
	}
	ciphers, extensions := withoutGrease(h.CipherSuites), withoutGrease(h.Extensions)
	head := fmt.Sprintf("t%s%c%02d%02d%s", version(h.SupportedVersions), name, min(len(ciphers), 99), min(len(extensions), 99), protocol(h.SupportedProtos))
	slices.Sort(ciphers)
	slices.Sort(extensions)
	extensions = slices.DeleteFunc(extensions, func(e uint16) bool { return e == extServerName || e == extALPN })
	var schemes []uint16
	for _, s := range h.SignatureSchemes {
		if !isGrease(uint16(s)) {
			schemes = append(schemes, uint16(s))
		}
	}
	tail := hexList(extensions)
	if len(schemes) > 0 {
		tail += "_" + hexList(schemes)
	}
	return head + "_" + short(hexList(ciphers)) + "_" + short(tail)
}

func withoutGrease(list []uint16) []uint16 {
	return slices.DeleteFunc(slices.Clone(list), isGrease)
}

func version(supported []uint16) string {
	switch slices.Max(append(withoutGrease(supported), 0)) {
	case tls.VersionTLS13:
		return "13"
	case tls.VersionTLS12:
		return "12"
	case tls.VersionTLS11:
		return "11"
	case tls.VersionTLS10:
		return "10"
	}
	return "00"
}

// protocol returns the first and last character of the first protocol (ALPN) that is asked for.
func protocol(protos []string) string {
	if len(protos) == 0 || len(protos[0]) == 0 {
		return "00"
	}
	first, last := protos[0][0], protos[0][len(protos[0])-1]
	if !alphanumeric(first) || !alphanumeric(last) {
		text := hex.EncodeToString([]byte(protos[0]))
		return text[:1] + text[len(text)-1:]
	}
	return string([]byte{first, last})
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func hexList(list []uint16) string {
	var b strings.Builder
	for i, v := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%04x", v)
	}
	return b.String()
}

func short(text string) string {
	if text == "" {
		return "000000000000"
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:6])
}
