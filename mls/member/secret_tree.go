package member

import (
	"errors"

	"conclave/mls"
)

const (
	// maxForward bounds how many generations one message may move a ratchet:
	// each costs three key derivations, and only a member can ask for them.
	// 1024 is some minutes of chat lost in one stretch.
	maxForward = 1024
	// maxSkipped bounds the keys kept for messages that come late, for each
	// ratchet. The oldest are wiped first.
	maxSkipped = 256
)

// Errors of a ratchet, for callers that branch.
var (
	// ErrReplay means that the key of this generation is spent, or too old
	// to have been kept.
	ErrReplay = errors.New("member: message key already used")
	// ErrTooFarAhead means that a message skips more generations than we
	// are willing to derive.
	ErrTooFarAhead = errors.New("member: message skips too many generations")
	// ErrExhausted means that a sending ratchet reached its last generation.
	ErrExhausted = errors.New("member: message keys of this epoch are used up")
)

// secretTree holds the encryption secrets of an epoch (RFC 9420, Section 9).
// Node secrets are derived when a leaf is first needed and wiped as soon as
// both children stand. Not safe for concurrent use.
type secretTree struct {
	_        [0]func()
	suite    mls.CipherSuite
	width    mls.LeafCount
	nodes    map[mls.NodeIndex][]byte // secrets not yet split
	ratchets map[mls.LeafIndex]*leafRatchets
}

// leafRatchets are the two hash ratchets of one leaf.
type leafRatchets struct {
	_           [0]func()
	handshake   ratchet
	application ratchet
}

// newSecretTree starts the tree of an epoch over width leaves (the width of
// the ratchet tree, a power of two). It takes over encryptionSecret.
func newSecretTree(suite mls.CipherSuite, encryptionSecret []byte, width mls.LeafCount) *secretTree {
	return &secretTree{
		suite:    suite,
		width:    width,
		nodes:    map[mls.NodeIndex][]byte{width.Root(): encryptionSecret},
		ratchets: map[mls.LeafIndex]*leafRatchets{},
	}
}

// leaf returns the ratchets of a leaf, deriving the way down to it once.
func (t *secretTree) leaf(i mls.LeafIndex) (*leafRatchets, error) {
	if l, ok := t.ratchets[i]; ok {
		return l, nil
	}
	if uint32(i) >= uint32(t.width) {
		return nil, errors.New("member: leaf is outside the secret tree")
	}
	n := t.suite.HashSize()
	x := t.width.Root()
	for x != i.Node() {
		left, _ := x.Left()
		right, _ := x.Right()
		if s, ok := t.nodes[x]; ok {
			t.nodes[left] = t.suite.ExpandWithLabel(s, "tree", []byte("left"), n)
			t.nodes[right] = t.suite.ExpandWithLabel(s, "tree", []byte("right"), n)
			wipe(s)
			delete(t.nodes, x)
		}
		if i.Node() < x {
			x = left
		} else {
			x = right
		}
	}
	s, ok := t.nodes[x]
	if !ok {
		return nil, errors.New("member: secret tree is wiped")
	}
	l := &leafRatchets{
		handshake:   ratchet{secret: t.suite.ExpandWithLabel(s, "handshake", nil, n)},
		application: ratchet{secret: t.suite.ExpandWithLabel(s, "application", nil, n)},
	}
	wipe(s)
	delete(t.nodes, x)
	t.ratchets[i] = l
	return l, nil
}

// wipe forgets every secret; the tree answers only errors afterwards.
func (t *secretTree) wipe() {
	if t == nil {
		return
	}
	for _, s := range t.nodes {
		wipe(s)
	}
	for _, l := range t.ratchets {
		l.handshake.wipe()
		l.application.wipe()
	}
	clear(t.nodes)
	clear(t.ratchets)
}

// ratchet is a hash ratchet: one key and nonce for each generation.
type ratchet struct {
	_       [0]func()
	secret  []byte // of generation next
	next    uint32
	skipped []messageKey // ascending by generation, at most maxSkipped
}

// messageKey protects one message.
type messageKey struct {
	_          [0]func()
	generation uint32
	key, nonce []byte
}

func (k *messageKey) wipe() {
	wipe(k.key)
	wipe(k.nonce)
}

// step derives the key of generation g from its secret, and the next secret.
func step(suite mls.CipherSuite, secret []byte, g uint32) (messageKey, []byte) {
	k := messageKey{
		generation: g,
		key:        suite.DeriveTreeSecret(secret, "key", g, suite.KeySize()),
		nonce:      suite.DeriveTreeSecret(secret, "nonce", g, suite.NonceSize()),
	}
	return k, suite.DeriveTreeSecret(secret, "secret", g, suite.HashSize())
}

// take returns the next key to send with and moves on. The caller wipes it.
func (r *ratchet) take(suite mls.CipherSuite) (messageKey, error) {
	if r.secret == nil || r.next == 1<<32-1 {
		return messageKey{}, ErrExhausted
	}
	k, next := step(suite, r.secret, r.next)
	wipe(r.secret)
	r.secret = next
	r.next++
	return k, nil
}

// open calls use with the key of generation g. Only when use succeeds is the
// key spent and the ratchet moved, so that a forged message changes nothing.
func (r *ratchet) open(suite mls.CipherSuite, g uint32, use func(key, nonce []byte) error) error {
	if g < r.next {
		return r.openLate(g, use)
	}
	if r.secret == nil || g == 1<<32-1 {
		return ErrExhausted
	}
	if g-r.next > maxForward {
		return ErrTooFarAhead
	}
	secret := append([]byte(nil), r.secret...)
	var late []messageKey
	var k messageKey
	for n := r.next; ; n++ {
		var next []byte
		k, next = step(suite, secret, n)
		wipe(secret)
		secret = next
		if n == g {
			break
		}
		if g-n <= maxSkipped {
			late = append(late, k)
		} else {
			k.wipe()
		}
	}
	err := use(k.key, k.nonce)
	k.wipe()
	if err != nil {
		wipe(secret)
		for i := range late {
			late[i].wipe()
		}
		return err
	}
	wipe(r.secret)
	r.secret, r.next = secret, g+1
	r.skipped = append(r.skipped, late...)
	if over := len(r.skipped) - maxSkipped; over > 0 {
		for i := range r.skipped[:over] {
			r.skipped[i].wipe()
		}
		r.skipped = append([]messageKey(nil), r.skipped[over:]...)
	}
	return nil
}

func (r *ratchet) openLate(g uint32, use func(key, nonce []byte) error) error {
	for i := range r.skipped {
		k := &r.skipped[i]
		if k.generation != g {
			continue
		}
		if err := use(k.key, k.nonce); err != nil {
			return err
		}
		k.wipe()
		r.skipped = append(r.skipped[:i], r.skipped[i+1:]...)
		return nil
	}
	return ErrReplay
}

func (r *ratchet) wipe() {
	wipe(r.secret)
	r.secret = nil
	for i := range r.skipped {
		r.skipped[i].wipe()
	}
	r.skipped = nil
}

// wipe overwrites a secret. The compiler may not drop it: the slice escapes.
func wipe(b []byte) { clear(b) }
