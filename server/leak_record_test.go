package server_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"conclave"
	"conclave/endpoint"
	"conclave/escrow"
	"conclave/exposure"
	"conclave/identity"
	"conclave/server/kept"
	"conclave/server/servertest"
	"conclave/signal"
	"conclave/store"
	"conclave/watermark"
	"conclave/watermark/marktest"
)

// Leaks of what was kept, or taken down: leak_test.go has the others.

// archive is all that a server ever wrote.
type archive struct {
	store.Store
	mu  sync.Mutex
	all [][]byte
}

func (a *archive) keep(value []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, bytes.Clone(value))
}

func (a *archive) Create(ctx context.Context, key store.Key, value []byte) (store.Revision, error) {
	a.keep(value)
	return a.Store.Create(ctx, key, value)
}

func (a *archive) Put(ctx context.Context, key store.Key, value []byte) (store.Revision, error) {
	a.keep(value)
	return a.Store.Put(ctx, key, value)
}

func (a *archive) CompareAndPut(ctx context.Context, key store.Key, value []byte, revision store.Revision) (store.Revision, error) {
	a.keep(value)
	return a.Store.CompareAndPut(ctx, key, value, revision)
}

func (a *archive) Append(ctx context.Context, stream store.Stream, record []byte) (store.Sequence, error) {
	a.keep(record)
	return a.Store.Append(ctx, stream, record)
}

// has says whether a value stands in the archive, raw or as JSON has bytes.
func (a *archive) has(value []byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	text := []byte(base64.StdEncoding.EncodeToString(value))
	return slices.ContainsFunc(a.all, func(b []byte) bool { return bytes.Contains(b, value) || bytes.Contains(b, text) })
}

// leave has guests leave, with what they have to hand in.
func leave(t *testing.T, guests ...*guest) {
	t.Helper()
	for _, g := range guests {
		g.Leave()
		select {
		case err := <-g.done:
			g.done <- err
		case <-time.After(5 * time.Second):
			t.Fatalf("%s does not leave", g.name)
		}
	}
}

// TeleMessage, 2025: an archive outside the seal, and whoever copied it read all of it. Here all that a server ever wrote holds no key
// of what was said. The one thing in it that tells of speech, when each person spoke, opens to two holders of three, and to no one of them.
func TestLeakAnArchiveOutsideTheSeal(t *testing.T) {
	var copied *archive
	w, key, _ := startInvestigatedWith(t, func(st store.Store) store.Store { copied = &archive{Store: st}; return copied })
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := openRestricted(w, "anna", "ben")
	anna := come(t, w, a, "anna", m).in()
	_, first := anna.keys.now()
	ben := come(t, w, b, "ben", m).in()
	alike(t, anna, ben)
	_, second := ben.keys.now()
	began := time.Now()
	time.Sleep(300 * time.Millisecond)
	if err := anna.Spoke(began, time.Now()); err != nil {
		t.Fatal(err)
	}
	leave(t, anna, ben)

	if !copied.has([]byte("Closed")) {
		t.Fatal("the title is not found in what was written: the search finds nothing")
	}
	for i, secret := range [][]byte{first, second} {
		if len(secret) == 0 || copied.has(secret) {
			t.Errorf("the key of epoch %d, %d octets, stands in what the server wrote", i, len(secret))
		}
	}
	timeline, blocks := timelineOf(w, m), ledgersOf(t, copied, m)
	if len(blocks) == 0 {
		t.Fatal("no block was handed in")
	}
	// opens says whether a thief with the archive and so many holders' parts learns who spoke.
	opens := func(threshold, has int) bool {
		shares, err := key.Split(3, threshold, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		got, err := escrow.Combine(shares[:has])
		if err != nil {
			return false
		}
		spoken, _ := timeline.OpenSpeech(got, blocks)
		return len(spoken) > 0
	}
	if opens(2, 1) {
		t.Error("one holder of three opens the ledgers")
	}
	if !opens(2, 2) {
		t.Error("two holders do not open them either: this test shows nothing")
	}
	other, err := escrow.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if spoken, bad := timeline.OpenSpeech(other, blocks); len(spoken) != 0 || bad.Shut == 0 {
		t.Error("another key opens them")
	}
}

// marking is media that only note what a leg is to mark with.
type marking struct {
	*keyRing
	told chan *endpoint.Marking
}

func (m *marking) Mark(k *endpoint.Marking) {
	select {
	case m.told <- k:
	default:
	}
}

func comeMarking(t *testing.T, w *servertest.World, d *servertest.Device, name string, m conclave.MeetingID) (*guest, *endpoint.Marking) {
	t.Helper()
	g := &guest{name: name}
	media := &marking{&g.keys, make(chan *endpoint.Marking, 1)}
	g.media = media
	g.come(t, w, d, name, m, &wire{}).in()
	select {
	case k := <-media.told:
		return g, k
	case <-time.After(5 * time.Second):
		t.Fatalf("%s is not told what to mark with", name)
	}
	return nil, nil
}

// Philippines, 2024: a tape that one side had made, of which nobody could say whose it was. What each leg plays is marked with a key that
// the leg drew itself and that the record is bound to: the tape names its leg, and no other. A leg that does not mark leaves it unsaid.
func TestLeakATapeThatOneSideMade(t *testing.T) {
	w, key, _ := startInvestigated(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := openRestricted(w, "anna", "ben")
	anna, _ := comeMarking(t, w, a, "anna", m)
	ben, plays := comeMarking(t, w, b, "ben", m)
	alike(t, anna, ben)
	if plays == nil {
		t.Fatal("ben's leg marks nothing")
	}
	tape := func(marks bool) (out []float32) {
		e, err := watermark.NewEmbedder(48000, 1, 0, plays.Sync, plays.Code)
		if err != nil {
			t.Fatal(err)
		}
		frame, sound := make([]int16, 960), marktest.Vowels()
		heard := make([]float32, len(frame))
		for range 20 * 50 {
			sound(frame)
			for i, x := range frame {
				heard[i] = float32(x) / 32768
			}
			if marks {
				e.Process(heard)
			}
			for i, x := range heard {
				frame[i] = int16(x * 32767)
			}
			out = marktest.Third(out, frame)
		}
		return out
	}
	answer := httptest.NewRecorder()
	w.Server.AdminHandler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/meetings/"+m.Text()+"/marks", nil))
	var people []conclave.PersonID
	search := watermark.Search{Sync: plays.Sync, Workers: 2}
	for lines := json.NewDecoder(answer.Body); lines.More(); {
		var mark kept.TracedMark
		if err := lines.Decode(&mark); err != nil {
			t.Fatal(err)
		}
		k, err := endpoint.OpenMark(key, mark.Meeting, mark.Leg, &signal.Mark{Commitment: mark.Commitment, Sealed: mark.Sealed})
		if err != nil || !mark.Recorded {
			t.Fatalf("%s: recorded %v, %v", mark.Person, mark.Recorded, err)
		}
		people = append(people, mark.Person)
		search.Suspects = append(search.Suspects, watermark.Suspect{Code: k.Code(), Tiles: 200})
	}
	if len(people) != 2 {
		t.Fatalf("marks of %v", people)
	}
	for _, marks := range []bool{true, false} {
		r, err := search.Run(t.Context(), tape(marks))
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case marks && (len(r.Named) != 1 || people[r.Named[0].Suspect] != "ben"):
			t.Errorf("named %+v of %v", r.Named, people)
		case !marks && len(r.Named) > 0:
			t.Errorf("without the mark %+v is named", r.Named)
		}
	}
}

// Der Spiegel, December 2025: a call's wording was in the paper, from somebody's notes. No mark traces notes. But who could have heard
// that minute is in the record: those who held keys then, and not all who were invited.
func TestLeakNotesOfACall(t *testing.T) {
	w := servertest.Start(t)
	devices := map[conclave.PersonID]*servertest.Device{}
	invited := []conclave.PersonID{"anna", "ben", "cleo", "dora", "eve"}
	for _, p := range invited {
		devices[p] = w.Enrol(p)
	}
	m := w.OpenMeetingWith(identity.Meeting{Title: "Closed", Level: 2, Chair: "anna", People: invited, Door: identity.DoorInvited})
	anna, ben, cleo := come(t, w, devices["anna"], "anna", m).in(), come(t, w, devices["ben"], "ben", m).in(), come(t, w, devices["cleo"], "cleo", m).in()
	alike(t, anna, ben, cleo)
	leave(t, cleo)
	alike(t, anna, ben)
	said := time.Now() // the sentence that was in the paper
	time.Sleep(50 * time.Millisecond)
	dora := come(t, w, devices["dora"], "dora", m).in()
	alike(t, anna, ben, dora)

	timeline := timelineOf(w, m)
	var could, were []conclave.PersonID
	for _, l := range timeline.Legs {
		were = append(were, l.Person)
		if slices.ContainsFunc(l.Stays, func(s exposure.Membership) bool {
			return !s.From.After(said) && (s.Until.IsZero() || s.Until.After(said))
		}) {
			could = append(could, l.Person)
		}
	}
	if slices.Sort(could); !slices.Equal(could, []conclave.PersonID{"anna", "ben"}) {
		t.Errorf("could have heard it: %v", could)
	}
	// Without the record of whose keys were void when, it would be everybody who ever was in.
	if slices.Sort(were); !slices.Equal(were, []conclave.PersonID{"anna", "ben", "cleo", "dora"}) {
		t.Errorf("were in: %v", were)
	}
}
