package audit

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"conclave"
	"conclave/merkle"
	"conclave/store"
)

// A message of the stream is the leaf, which is JSON, and behind a zero octet, which JSON never holds, the sealed personal
// part: the slot of its key in eight octets, and AES-256-GCM under that key, which seals nothing else, with a nonce of zeros.

// leaf is what the tree commits to: the record without its personal part.
type leaf struct {
	Record
	// Personal is the commitment to the personal part: SHA-256 over partLabel and the part as it is encoded.
	Personal []byte `json:"personal,omitempty"`
}

// part is the personal part. Its salt keeps those who know the leaf from trying out whom it is about.
type part struct {
	Salt   []byte              `json:"salt"`
	Person conclave.PersonID   `json:"person,omitempty"`
	People []conclave.PersonID `json:"people,omitempty"`
	Device conclave.DeviceID   `json:"device,omitzero"`
	Reason string              `json:"reason,omitempty"`
	Facts  []conclave.Fact     `json:"facts,omitempty"`
}

const (
	partLabel = "Conclave personal part 1\x00"
	saltSize  = 16
)

// split parts a record and encodes both halves. part is nil where nothing is personal.
func split(r Record, rand io.Reader) (leafBytes, partBytes []byte, err error) {
	l := leaf{Record: r}
	p := part{Person: r.Person, People: r.People, Device: r.Device, Reason: r.Reason, Facts: r.Facts}
	l.Person, l.People, l.Device, l.Reason, l.Facts = "", nil, conclave.DeviceID{}, "", nil
	if p.Person != "" || len(p.People) > 0 || p.Device != (conclave.DeviceID{}) || p.Reason != "" || len(p.Facts) > 0 {
		p.Salt = make([]byte, saltSize)
		if _, err := io.ReadFull(rand, p.Salt); err != nil {
			return nil, nil, fmt.Errorf("draw a salt: %w", err)
		}
		if partBytes, err = json.Marshal(p); err != nil {
			return nil, nil, err
		}
		l.Personal = commit(partBytes)
	}
	leafBytes, err = json.Marshal(l)
	if err == nil && len(leafBytes) > merkle.MaxLeaf {
		err = fmt.Errorf("a record of %d bytes, at most %d", len(leafBytes), merkle.MaxLeaf)
	}
	return leafBytes, partBytes, err
}

func commit(part []byte) []byte {
	sum := sha256.Sum256(append([]byte(partLabel), part...))
	return sum[:]
}

// Join reads a leaf and its personal part, which may be nil, back into a record. It says whether the leaf commits to a part
// that was not given. A part that is not the one committed to is an error.
func Join(leafBytes, partBytes []byte) (r Record, missing bool, err error) {
	var l leaf
	if err := json.Unmarshal(leafBytes, &l); err != nil {
		return Record{}, false, fmt.Errorf("audit: the record cannot be read: %v", err)
	}
	if partBytes == nil {
		return l.Record, len(l.Personal) > 0, nil
	}
	if !bytes.Equal(l.Personal, commit(partBytes)) {
		return Record{}, false, errors.New("audit: the personal part is not the one that the record commits to")
	}
	var p part
	if err := json.Unmarshal(partBytes, &p); err != nil {
		return Record{}, false, fmt.Errorf("audit: the personal part cannot be read: %v", err)
	}
	r = l.Record
	r.Person, r.People, r.Device, r.Reason, r.Facts = p.Person, p.People, p.Device, p.Reason, p.Facts
	return r, false, nil
}

// message is a record as it stands in the stream.
type message struct {
	leaf   []byte
	slot   store.Slot
	sealed []byte // nil: no personal part
}

func parseMessage(b []byte) (message, error) {
	leaf, rest, ok := bytes.Cut(b, []byte{0})
	m := message{leaf: leaf}
	if !ok {
		return m, nil
	}
	if len(rest) < 8 {
		return m, errors.New("audit: a record's sealed part is cut")
	}
	m.slot, m.sealed = store.Slot(binary.BigEndian.Uint64(rest)), rest[8:]
	return m, nil
}

func sealer(key *store.ShredKey) cipher.AEAD {
	block, err := aes.NewCipher(key.Key[:])
	if err != nil {
		panic("audit: " + err.Error())
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("audit: " + err.Error())
	}
	return aead
}

// seal encodes a record for the stream.
func (l *Log) seal(ctx context.Context, leafBytes, partBytes []byte) ([]byte, error) {
	if partBytes == nil {
		return leafBytes, nil
	}
	slot, key, err := l.store.DrawKey(ctx)
	if err != nil {
		return nil, err
	}
	b := append(leafBytes, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(slot))
	aead := sealer(&key)
	return aead.Seal(b, make([]byte, aead.NonceSize()), partBytes, nil), nil
}

// unseal returns the personal part, or nil if there is none or it is erased.
func (l *Log) unseal(ctx context.Context, m message) ([]byte, error) {
	if m.sealed == nil {
		return nil, nil
	}
	key, err := l.store.ReadKey(ctx, m.slot)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	aead := sealer(&key)
	b, err := aead.Open(nil, make([]byte, aead.NonceSize()), m.sealed, nil)
	if err != nil {
		return nil, errors.New("audit: a personal part does not open with its key")
	}
	return b, nil
}
