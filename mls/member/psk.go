package member

import (
	"bytes"
	"errors"

	"conclave/mls"
)

// ErrUnknownPSK means that a commit or Welcome asks for a pre-shared key that
// this member was not given.
var ErrUnknownPSK = errors.New("member: unknown pre-shared key")

// maxResumption bounds the resumption PSKs that a member keeps, its own group's
// past epochs' among them. Such a secret decrypts nothing of its epoch; it only
// proves that one was there.
const maxResumption = 32

// PSK is an external pre-shared key: a name agreed on outside of MLS and the
// secret. A Group copies what it is given and wipes its copy.
type PSK struct {
	_      [0]func()
	ID     []byte
	Secret []byte
}

// Resumption is the resumption PSK of one epoch of a group.
type Resumption struct {
	_       [0]func()
	GroupID mls.GroupID
	Epoch   mls.Epoch
	Secret  []byte
	// tree is that of the epoch, if it is one of the own group's that was lived
	// through: what a branch is held against that is opened late. It is not
	// part of a snapshot.
	tree *mls.RatchetTree
}

// Wipe forgets the secret.
func (r *Resumption) Wipe() { wipe(r.Secret) }

// pskStore are the pre-shared keys that a member can answer with.
type pskStore struct {
	_          [0]func()
	external   []PSK
	resumption []Resumption // oldest first
}

func (s *pskStore) add(id, secret []byte) {
	s.remove(id)
	s.external = append(s.external, PSK{ID: bytes.Clone(id), Secret: bytes.Clone(secret)})
}

func (s *pskStore) remove(id []byte) {
	for i := range s.external {
		if bytes.Equal(s.external[i].ID, id) {
			wipe(s.external[i].Secret)
			s.external = append(s.external[:i], s.external[i+1:]...)
			return
		}
	}
}

// addResumption keeps a copy of the resumption PSK of an epoch; beyond
// maxResumption the oldest one goes.
func (s *pskStore) addResumption(groupID mls.GroupID, epoch mls.Epoch, secret []byte) {
	s.resumption = append(s.resumption, Resumption{
		GroupID: bytes.Clone(groupID), Epoch: epoch, Secret: bytes.Clone(secret),
	})
	if over := len(s.resumption) - maxResumption; over > 0 {
		for i := range s.resumption[:over] {
			s.resumption[i].Wipe()
		}
		s.resumption = append([]Resumption(nil), s.resumption[over:]...)
	}
}

// tree returns that of an epoch; nil if it is not known.
func (s *pskStore) tree(groupID mls.GroupID, epoch mls.Epoch) *mls.RatchetTree {
	for i := range s.resumption {
		if r := &s.resumption[i]; r.Epoch == epoch && bytes.Equal(r.GroupID, groupID) {
			return r.tree
		}
	}
	return nil
}

// find returns the secret behind id, which stays the store's.
func (s *pskStore) find(id *mls.PreSharedKeyID) ([]byte, error) {
	switch id.Type {
	case mls.PSKExternal:
		for i := range s.external {
			if bytes.Equal(s.external[i].ID, id.ID) {
				return s.external[i].Secret, nil
			}
		}
	case mls.PSKResumption:
		for i := range s.resumption {
			r := &s.resumption[i]
			if r.Epoch == id.Epoch && bytes.Equal(r.GroupID, id.GroupID) {
				return r.Secret, nil
			}
		}
	}
	return nil, ErrUnknownPSK
}

func (s *pskStore) wipe() {
	for i := range s.external {
		wipe(s.external[i].Secret)
	}
	for i := range s.resumption {
		s.resumption[i].Wipe()
	}
	s.external, s.resumption = nil, nil
}

// secret folds the PSKs of a commit or Welcome into one (RFC 9420,
// Section 8.4); without any it is all zero. The caller wipes it.
func (s *pskStore) secret(suite mls.CipherSuite, ids []mls.PreSharedKeyID) ([]byte, error) {
	n := suite.HashSize()
	zero := make([]byte, n)
	out := make([]byte, n)
	if len(ids) > 1<<16-1 {
		return nil, errors.New("member: too many pre-shared keys")
	}
	for i := range ids {
		psk, err := s.find(&ids[i])
		if err != nil {
			wipe(out)
			return nil, err
		}
		label := mls.Marshal(mls.PSKLabel{ID: ids[i], Index: uint16(i), Count: uint16(len(ids))})
		extracted := suite.Extract(zero, psk)
		input := suite.ExpandWithLabel(extracted, "derived psk", label, n)
		next := suite.Extract(input, out)
		wipe(extracted)
		wipe(input)
		wipe(out)
		out = next
	}
	return out, nil
}
