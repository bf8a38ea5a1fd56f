package member

import (
	"bytes"
	"errors"
	"testing"

	"conclave/mls"
)

func TestRestoredGroupGoesOnInANewEpoch(t *testing.T) {
	everySuite(t, func(t *testing.T, suite mls.CipherSuite) {
		r := newRoom(t, suite)
		r.fill(4)
		g := r.member(2)
		for _, m := range r.members {
			m.SetPSK([]byte("p"), []byte("secret"))
		}
		must(g.Protect([]byte("before"), nil))(t)
		late := must(r.member(0).Protect([]byte("late"), nil))(t)
		if _, err := g.Process(must(r.member(0).Protect([]byte("read"), nil))(t), r.now); err != nil {
			t.Fatal(err)
		}
		r.propose(must(g.ProposeUpdate(nil, nil, r.now))(t), g)
		var snap Snapshot
		if err := g.Save(&snap); err != nil {
			t.Fatal(err)
		}
		if n := len(snap.Bytes()); n != len(snap.b) || cap(snap.b) < n {
			t.Fatal("no snapshot")
		}
		back := must(Restore(g.cfg, snap.Bytes()))(t)
		kept := snap.Bytes()
		snap.Wipe()
		if !bytes.Equal(kept, make([]byte, len(kept))) {
			t.Fatal("a wiped snapshot is still in memory")
		}
		if !back.Restored() || !bytes.Equal(back.EpochAuthenticator(), g.EpochAuthenticator()) {
			t.Fatal("restored another state")
		}
		if _, err := back.Protect([]byte("again"), nil); !errors.Is(err, ErrRestored) {
			t.Fatalf("got %v, want ErrRestored", err)
		}
		if _, err := back.Export("key", nil, 32); !errors.Is(err, ErrRestored) {
			t.Fatalf("got %v, want ErrRestored", err)
		}
		if !bytes.Equal(must(back.ExportToReceive("key", nil, 32))(t), must(g.Export("key", nil, 32))(t)) {
			t.Fatal("keys to receive with differ")
		}
		back.restored = false
		if _, err := back.Protect([]byte("again"), nil); !errors.Is(err, ErrExhausted) {
			t.Fatalf("a snapshot holds keys to send with: %v", err)
		}
		back.restored = true
		if p, err := back.Process(late, r.now); err != nil || string(p.Application) != "late" {
			t.Fatalf("late message: %v", err)
		}
		// It takes the place of the old state, with its pending update.
		r.members[2] = back
		r.commit(r.member(0), CommitOptions{Proposals: []mls.Proposal{must(r.member(0).NewPSK([]byte("p")))(t)}})
		r.agree()
		if _, err := back.Protect([]byte("again"), nil); !errors.Is(err, ErrRestored) {
			t.Fatalf("another copy may be in this epoch, too: got %v, want ErrRestored", err)
		}
		r.commit(back, CommitOptions{})
		r.agree()
		if back.Restored() {
			t.Fatal("still restored after its own commit")
		}
		if _, err := r.member(0).Process(must(back.Protect([]byte("new"), nil))(t), r.now); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRestoredGroupMayCommit(t *testing.T) {
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(3)
	var snap Snapshot
	if err := r.member(1).Save(&snap); err != nil {
		t.Fatal(err)
	}
	back := must(Restore(r.member(1).cfg, snap.Bytes()))(t)
	r.members[1] = back
	r.commit(back, CommitOptions{})
	r.agree()
}

func TestSaveWipesWhatItReplaces(t *testing.T) {
	r := newRoom(t, mls.P256AES128SHA256P256)
	var snap Snapshot
	if err := r.members[0].Save(&snap); err != nil {
		t.Fatal(err)
	}
	old := snap.Bytes()
	if err := r.members[0].Save(&snap); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(old, make([]byte, len(old))) {
		t.Fatal("the replaced snapshot is still in memory")
	}
}

func TestDamagedSnapshotIsRefused(t *testing.T) {
	r := newRoom(t, mls.P256AES128SHA256P256)
	r.fill(3)
	g := r.member(0)
	var snap Snapshot
	if err := g.Save(&snap); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(newConfig(t, r.suite), snap.Bytes()); err == nil {
		t.Fatal("restored with another signer")
	}
	for n := range snap.Bytes() {
		if _, err := Restore(g.cfg, snap.Bytes()[:n]); err == nil {
			t.Fatalf("restored from %d bytes", n)
		}
	}
}

func FuzzRestore(f *testing.F) {
	f.Add([]byte{}, []byte{}, false)
	f.Add([]byte{0, 40, 1}, []byte{}, false)
	f.Add([]byte{8, 40, 1, 9, 9, 9}, []byte{}, false)
	f.Add([]byte{}, []byte{1, 0}, true)
	var r *room
	var snap Snapshot
	f.Fuzz(func(t *testing.T, edits, raw []byte, bare bool) {
		fixed(t)
		if r == nil {
			r = newRoom(t, mls.P256AES128SHA256P256)
			r.fill(3)
			if _, err := r.member(1).ProposeUpdate(nil, nil, r.now); err != nil {
				t.Fatal(err)
			}
			if err := r.member(1).Save(&snap); err != nil {
				t.Fatal(err)
			}
		}
		b := edit(snap.Bytes(), edits)
		if bare {
			b = raw
		}
		back, err := Restore(r.member(1).cfg, b)
		if err != nil {
			return
		}
		// Whatever is taken in must not panic later either.
		s, err := back.Commit(CommitOptions{}, r.now)
		if err != nil {
			return
		}
		if err := back.Merge(s); err != nil {
			t.Fatal(err)
		}
	})
}
