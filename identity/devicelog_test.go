package identity

import (
	"context"
	"errors"
	"testing"

	"conclave/gate"
	"conclave/merkle"
	"conclave/pass"
	"conclave/store"
)

func statementOf(t *testing.T, w world) []byte {
	t.Helper()
	_, point := leafKey(t)
	statement, err := w.sign(t.Context(), Person{ID: "anna.weber", Name: "Anna Weber"}, &Device{LeafKey: point}, now)
	if err != nil {
		t.Fatal(err)
	}
	return statement
}

func verifyProof(t *testing.T, w world, encoded, statement []byte) *merkle.Checkpoint {
	t.Helper()
	proof, err := merkle.ParseProof(encoded)
	if err != nil {
		t.Fatal(err)
	}
	s, err := pass.ParseStatement(statement)
	if err != nil {
		t.Fatal(err)
	}
	leaf := pass.LogLeaf(pass.LogStatement, w.org.ID, s.Person, s.Device(), statement)
	keys := w.org.Trust.LogKeys(now)
	if len(keys) != 1 {
		t.Fatalf("%d log keys are granted", len(keys))
	}
	c, err := proof.Verify(leaf, merkle.LogKey(gate.DeviceLogOrigin(w.org.ID), keys[0]))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEveryStatementStandsInTheDeviceLogAlsoAfterARestart(t *testing.T) {
	w := newWorld(t)
	first, second := statementOf(t, w), statementOf(t, w)
	log, err := w.DeviceLog(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	proof, err := log.Proof(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	before := verifyProof(t, w, proof, first)
	if want := merkle.Size(len(w.org.Grants) + 2); before.Size != want {
		t.Errorf("the log has %d leaves, want %d: the grants and two statements", before.Size, want)
	}

	again := world{Directory: NewDirectory(w.store, w.org, w.record), org: w.org}
	if log, err = again.DeviceLog(t.Context()); err != nil {
		t.Fatal(err)
	}
	statementOf(t, again)
	proof, err = log.Proof(t.Context(), second)
	if err != nil {
		t.Fatal(err)
	}
	after := verifyProof(t, w, proof, second)
	path, err := log.Consistency(uint64(before.Size), uint64(after.Size))
	if err != nil {
		t.Fatal(err)
	}
	hashes := make([]merkle.Hash, len(path))
	for i := range path {
		hashes[i] = merkle.Hash(path[i])
	}
	if err := merkle.CheckConsistency(hashes, before.Size, before.Root, after.Size, after.Root); err != nil {
		t.Errorf("the log did not go on from what it was: %v", err)
	}
}

func TestADeviceThatIsTakenOutOfUseIsEntered(t *testing.T) {
	w := newWorld(t)
	log, err := w.DeviceLog(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	size := log.tree.Size()
	if err := log.addRevocation(t.Context(), "anna.weber", [16]byte{1}); err != nil {
		t.Fatal(err)
	}
	records, err := w.store.Read(t.Context(), store.Devices, store.Sequence(size+1), 10)
	if err != nil || len(records) != 1 {
		t.Fatalf("got %d leaves, %v", len(records), err)
	}
	leaf, err := pass.ParseLogLeaf(records[0].Value)
	if err != nil || leaf.Kind != pass.LogRevocation || leaf.Device != [16]byte{1} || leaf.Person != pass.PersonTag(w.org.ID, "anna.weber") {
		t.Errorf("anna would not find the leaf that is about her: %+v, %v", leaf, err)
	}
	if c, err := merkle.Unverified(log.signed); err != nil || c.Size != size+1 {
		t.Errorf("checkpoint %+v, %v", c, err)
	}
}

// failing is a store whose appends fail when told to; what fails may be written all the same.
type failing struct {
	store.Store
	fail, write bool
}

var errDisk = errors.New("disk")

func (f *failing) Append(ctx context.Context, s store.Stream, record []byte) (store.Sequence, error) {
	if !f.fail || s != store.Devices {
		return f.Store.Append(ctx, s, record)
	}
	if f.write {
		f.Store.Append(ctx, s, record)
	}
	return 0, errDisk
}

func TestNoStatementIsGivenWhileTheDeviceLogCannotBeWritten(t *testing.T) {
	for name, written := range map[string]bool{"nothing is written": false, "it is written all the same": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			f := &failing{Store: w.store}
			w.Directory = NewDirectory(f, w.org, w.record)
			statementOf(t, w)
			f.fail, f.write = true, written
			_, point := leafKey(t)
			if _, err := w.sign(t.Context(), Person{ID: "anna.weber", Name: "Anna Weber"}, &Device{LeafKey: point}, now); !errors.Is(err, errDisk) {
				t.Fatalf("got %v", err)
			}
			f.fail = false
			statement := statementOf(t, w)
			log, err := w.DeviceLog(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			proof, err := log.Proof(t.Context(), statement)
			if err != nil {
				t.Fatal(err)
			}
			verifyProof(t, w, proof, statement)
			// What was written stands, and the next start agrees with what was signed.
			if _, err := NewDirectory(f, w.org, w.record).DeviceLog(t.Context()); err != nil {
				t.Errorf("after a restart: %v", err)
			}
		})
	}
}

// cut is a store that has lost the end of the device log, or holds another one.
type cut struct {
	store.Store
	keep   int
	change bool
}

func (c cut) Read(ctx context.Context, s store.Stream, from store.Sequence, limit int) ([]store.Record, error) {
	records, err := c.Store.Read(ctx, s, from, limit)
	if s != store.Devices {
		return records, err
	}
	var out []store.Record
	for _, r := range records {
		if int(r.Sequence) > c.keep {
			break
		}
		if c.change && r.Sequence == 2 {
			r.Value[5] ^= 1
		}
		out = append(out, r)
	}
	return out, err
}

func TestADeviceLogThatLostOrChangedEntriesIsRefused(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		statementOf(t, w)
	}
	for name, broken := range map[string]cut{
		"its end is lost":       {w.store, 6, false},
		"all of it is lost":     {w.store, 0, false},
		"one entry was changed": {w.store, 100, true},
	} {
		if _, err := NewDirectory(broken, w.org, w.record).DeviceLog(t.Context()); !errors.Is(err, errDeviceLog) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
