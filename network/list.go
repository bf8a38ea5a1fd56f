package network

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"conclave/line"
)

// The bounds of a list.
const (
	MaxList    = 32 << 20 // bytes
	maxEntries = 1 << 20
	maxName    = 64 // bytes: a name is shown as the fact "network"
)

// List names networks and operators and says of which kind they are.
type List struct {
	sum       [sha256.Size]byte // of the source
	bits      []int             // the lengths of prefixes that occur, the longest first
	entries   map[netip.Prefix]entry
	operators map[AS]Kind
	approved  line.Networks
}

type entry struct {
	kind Kind
	name string
}

// ParseList reads a list: a line for each network, with a prefix or the number of an autonomous system, its kind and, for an
// approved network, the name that people are shown.
//
//	10.1.0.0/16       approved   headquarters
//	185.220.101.0/24  tor
//	AS14593           satellite
//
// Lines that are empty or begin with "#" count for nothing. The smallest network that holds an address decides. The error
// names the line of the first mistake.
func ParseList(source []byte) (*List, error) {
	if len(source) > MaxList {
		return nil, fmt.Errorf("network: parse list: over %d bytes", MaxList)
	}
	l := &List{sum: sha256.Sum256(source), entries: map[netip.Prefix]entry{}, operators: map[AS]Kind{}}
	number := 0
	for text := range strings.Lines(string(source)) {
		number++
		text = strings.TrimSpace(text)
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		if err := l.add(text); err != nil {
			return nil, fmt.Errorf("network: parse list line %d: %w", number, err)
		}
		if len(l.entries)+len(l.operators) > maxEntries {
			return nil, fmt.Errorf("network: parse list: over %d networks", maxEntries)
		}
	}
	for p := range l.entries {
		if !slices.Contains(l.bits, p.Bits()) {
			l.bits = append(l.bits, p.Bits())
		}
	}
	slices.Sort(l.bits)
	slices.Reverse(l.bits)
	return l, nil
}

func (l *List) add(text string) error {
	which, rest := word(text)
	kindText, name := word(rest)
	kind := Kind(kindText)
	if !slices.Contains(kinds, kind) {
		return fmt.Errorf("%q is no kind of network; there are %s", kindText, kindList())
	}
	if kind == KindApproved && (name == "" || len(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) })) {
		return fmt.Errorf("an approved network needs a name of at most %d bytes, which people are shown", maxName)
	}
	if number, ok := strings.CutPrefix(which, "AS"); ok {
		return l.addOperator(number, kind)
	}
	prefix, err := netip.ParsePrefix(which)
	if err != nil {
		return fmt.Errorf("%q is neither a network such as 10.1.0.0/16 nor an operator such as AS64500", which)
	}
	if prefix != prefix.Masked() {
		return fmt.Errorf("%s has bits beyond its length; it would be %s", which, prefix.Masked())
	}
	if prefix.Addr().Is4In6() {
		return fmt.Errorf("%s: write an IPv4 network as one", which)
	}
	if _, twice := l.entries[prefix]; twice {
		return fmt.Errorf("%s stands twice", which)
	}
	l.entries[prefix] = entry{kind, name}
	if kind == KindApproved {
		l.approved = append(l.approved, line.Network{Name: name, Prefix: prefix})
	}
	return nil
}

func (l *List) addOperator(number string, kind Kind) error {
	n, err := strconv.ParseUint(number, 10, 32)
	if err != nil || n == 0 {
		return fmt.Errorf("AS%s is no number of an operator", number)
	}
	if kind == KindApproved {
		return fmt.Errorf("AS%s: an operator has many customers, so it is not approved as a whole", number)
	}
	if _, twice := l.operators[AS(n)]; twice {
		return fmt.Errorf("AS%s stands twice", number)
	}
	l.operators[AS(n)] = kind
	return nil
}

// word takes the first word off text.
func word(text string) (first, rest string) {
	i := strings.IndexFunc(text, unicode.IsSpace)
	if i < 0 {
		return text, ""
	}
	return text[:i], strings.TrimSpace(text[i:])
}

func kindList() string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = string(k)
	}
	return strings.Join(names, ", ")
}

// find returns the entry of the smallest network that holds a.
func (l *List) find(a netip.Addr) (entry, bool) {
	for _, bits := range l.bits {
		p, err := a.Prefix(bits)
		if err != nil {
			continue // longer than an address of this kind
		}
		if e, ok := l.entries[p]; ok {
			return e, true
		}
	}
	return entry{}, false
}

// Len returns how many networks and operators are listed.
func (l *List) Len() int { return len(l.entries) + len(l.operators) }
