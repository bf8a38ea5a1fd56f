// Package gatetest keeps an organisation's device log for tests: a real one, in memory.
package gatetest

import (
	"sync"
	"testing"

	"conclave"
	"conclave/gate"
	"conclave/merkle"
	"conclave/pass"
	"conclave/pass/passtest"
)

// DeviceLog is the device log of an organisation. It may be used by several goroutines.
type DeviceLog struct {
	t   testing.TB
	org *passtest.Organisation

	mu     sync.Mutex
	tree   merkle.Tree                  // guarded by mu
	places map[merkle.Hash]merkle.Index // guarded by mu
}

// New returns an empty log.
func New(t testing.TB, org *passtest.Organisation) *DeviceLog {
	return &DeviceLog{t: t, org: org, places: map[merkle.Hash]merkle.Index{}}
}

// Proof enters a statement that does not stand in the log yet, whatever it is worth, and shows that it does (C2SP
// tlog-proof).
func (l *DeviceLog) Proof(statement []byte) []byte {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var person conclave.PersonID
	var device conclave.DeviceID
	if s, err := pass.ParseStatement(statement); err == nil {
		person, device = s.Person, s.Device()
	}
	hash := merkle.LeafHash(pass.LogLeaf(pass.LogStatement, l.org.ID, person, device, statement))
	place, ok := l.places[hash]
	if !ok {
		place = l.tree.AppendHash(hash)
		l.places[hash] = place
	}
	c := merkle.Checkpoint{Origin: gate.DeviceLogOrigin(l.org.ID), Size: l.tree.Size(), Root: l.tree.Root()}
	signed, err := c.Sign(l.org.Log)
	if err != nil {
		l.t.Fatal(err)
	}
	path, err := l.tree.Inclusion(place, c.Size)
	if err != nil {
		l.t.Fatal(err)
	}
	return (&merkle.Proof{Index: place, Path: path, Checkpoint: signed}).Encode()
}

// Fill enters leaves that no statement stands behind.
func (l *DeviceLog) Fill(leaves ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, leaf := range leaves {
		l.tree.Append([]byte(leaf))
	}
}

// Consistency shows that the log only grew from one size to another.
func (l *DeviceLog) Consistency(from, to uint64) [][]byte {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	path, err := l.tree.Consistency(merkle.Size(from), merkle.Size(to))
	if err != nil {
		l.t.Fatal(err)
	}
	out := make([][]byte, len(path))
	for i := range path {
		out[i] = path[i][:]
	}
	return out
}
