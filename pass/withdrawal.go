package pass

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"conclave"
)

// A grant is good for a year. Where a working key is lost before, the root key withdraws it: a list of withdrawn keys, each
// new one with a higher counter, which a client remembers, so that nobody who holds the key and the server can show an older.

// MaxWithdrawn bounds the keys of a Withdrawal: all that encodings of this package have room for. Keys whose grants have
// run out need not be on it.
const MaxWithdrawn = 48

const withdrawalLabel = "Conclave withdrawal 1\x00"

var (
	errCounter   = errors.New("counter is zero")
	errWithdrawn = errors.New("too many keys, or not in rising order")
)

// KeyHash names a withdrawn key: SHA-256 over it as its grant has it.
type KeyHash [sha256.Size]byte

// KeyHashOf returns the name of key.
func KeyHashOf(key []byte) KeyHash { return sha256.Sum256(key) }

// Withdrawal is the root key's word that keys it granted are good for nothing any more. Each one replaces those before it.
//
// Encoding: version octet, organisation, counter (8), time (8), number of keys (1), hashes (32 each, rising), signature.
type Withdrawal struct {
	Organisation conclave.OrganisationID
	Counter      uint64 // from 1
	Time         time.Time
	Keys         []KeyHash // at most MaxWithdrawn, in rising order, each once
	Signature    []byte    // by the root key
}

// SignWithdrawal signs w with the root key and returns its encoding. It sorts Keys. It fails if a field breaks its limits.
func SignWithdrawal(root ed25519.PrivateKey, w *Withdrawal) ([]byte, error) {
	w.Time = whole(w.Time)
	slices.SortFunc(w.Keys, compareHashes)
	w.Keys = slices.Compact(w.Keys)
	content, err := w.content()
	if err != nil {
		return nil, err
	}
	w.Signature = ed25519.Sign(root, labelled(withdrawalLabel, content))
	return append(content, w.Signature...), nil
}

func compareHashes(a, b KeyHash) int { return slices.Compare(a[:], b[:]) }

func (w *Withdrawal) content() ([]byte, error) {
	if err := w.check(); err != nil {
		return nil, fmt.Errorf("pass: encode withdrawal: %w", err)
	}
	b := begin()
	short(b, string(w.Organisation))
	b.AddUint64(w.Counter)
	b.AddUint64(uint64(w.Time.Unix()))
	b.AddUint8(uint8(len(w.Keys)))
	for i := range w.Keys {
		b.AddBytes(w.Keys[i][:])
	}
	return b.BytesOrPanic(), nil
}

func (w *Withdrawal) check() error {
	if err := checkOrganisation(w.Organisation); err != nil {
		return err
	}
	if w.Counter == 0 {
		return errCounter
	}
	if w.Time.Unix() < 0 || w.Time.Unix() > maxTime {
		return errLife
	}
	rising := func(i int) bool { return compareHashes(w.Keys[i], w.Keys[i+1]) < 0 }
	if len(w.Keys) > MaxWithdrawn {
		return errWithdrawn
	}
	for i := range len(w.Keys) - 1 {
		if !rising(i) {
			return errWithdrawn
		}
	}
	return nil
}

// MarshalBinary implements encoding.BinaryMarshaler. It fails for what was not signed.
func (w *Withdrawal) MarshalBinary() ([]byte, error) {
	content, err := w.content()
	return withSignature(content, w.Signature, err)
}

// ParseWithdrawal decodes a withdrawal; it verifies nothing. Errors hold a conclave.Problem (errors.As).
func ParseWithdrawal(b []byte) (*Withdrawal, error) {
	bad := func(cause error) (*Withdrawal, error) {
		return nil, &malformedError{conclave.Problem{Code: "withdrawal_malformed", Fix: "ask_administrator"}, "withdrawal", cause}
	}
	w := new(Withdrawal)
	s, ok := open(b)
	var at uint64
	var n uint8
	ok = ok && readShort(&s, (*string)(&w.Organisation)) && s.ReadUint64(&w.Counter) && s.ReadUint64(&at) && at <= maxTime && s.ReadUint8(&n)
	if !ok || n > MaxWithdrawn {
		return bad(errShape)
	}
	w.Time = time.Unix(int64(at), 0).UTC()
	w.Keys = make([]KeyHash, n)
	for i := range w.Keys {
		ok = ok && s.CopyBytes(w.Keys[i][:])
	}
	if !ok || !readSignature((*cryptobyte.String)(&s), &w.Signature) {
		return bad(errShape)
	}
	if err := w.check(); err != nil {
		return bad(err)
	}
	return w, nil
}

// Without verifies a withdrawal against the pinned root and returns a Trust that knows none of the keys that it names, with
// the withdrawal's counter. least is the counter of the newest that the caller remembers; an older one is refused. Errors
// hold a conclave.Problem (errors.As): where a role is left without a key, that is grant_missing.
func (t *Trust) Without(withdrawal []byte, least uint64, now time.Time) (*Trust, uint64, error) {
	w, err := ParseWithdrawal(withdrawal)
	switch {
	case err != nil:
		return nil, 0, err
	case w.Organisation != t.organisation:
		return nil, 0, problem("organisation_unknown")
	case !ed25519.Verify(t.root, labelled(withdrawalLabel, signed(withdrawal)), w.Signature):
		return nil, 0, conclave.Problem{Code: "withdrawal_signature", Fix: "ask_administrator"}
	case w.Counter < least:
		return nil, 0, conclave.Problem{Code: "withdrawal_old", Fix: "ask_administrator"}
	}
	var kept [][]byte
	for _, v := range t.grants {
		if _, gone := slices.BinarySearchFunc(w.Keys, KeyHashOf(v.Key), compareHashes); !gone {
			kept = append(kept, v.encoded)
		}
	}
	out, err := t.With(kept, now)
	return out, w.Counter, err
}
