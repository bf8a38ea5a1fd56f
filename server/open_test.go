package server_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"conclave"
	"conclave/endpoint"
	"conclave/server/servertest"
	"conclave/signal"
	"conclave/store"
)

// stalling is a store that, once told to, gives no answer about one meeting's room until it is let go.
type stalling struct {
	store.Store
	mu     sync.Mutex
	key    store.Key     // whose; guarded by mu
	held   chan struct{} // closed to let go; guarded by mu
	failed atomic.Bool   // and then says that it cannot
	asked  atomic.Int32  // how often it was asked for it
}

func (s *stalling) stall(m conclave.MeetingID) (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := make(chan struct{})
	s.key, s.held = store.Key("room."+m.Text()), held
	return sync.OnceFunc(func() { close(held) })
}

func (s *stalling) Get(ctx context.Context, k store.Key) (store.Entry, error) {
	s.mu.Lock()
	held := s.held
	mine := k == s.key
	s.mu.Unlock()
	if !mine {
		return s.Store.Get(ctx, k)
	}
	s.asked.Add(1)
	select {
	case <-held:
	case <-ctx.Done():
		return store.Entry{}, ctx.Err()
	}
	if s.failed.Load() {
		return store.Entry{}, errDisk
	}
	return s.Store.Get(ctx, k)
}

func startStalling(t *testing.T) (*servertest.World, *stalling) {
	disk := new(stalling)
	return servertest.StartWith(t, servertest.Options{Store: func(s store.Store) store.Store { disk.Store = s; return disk }}), disk
}

// joining comes as far as the question whether to be let in.
func joining(t *testing.T, w *servertest.World, d *servertest.Device, m conclave.MeetingID) *raw {
	t.Helper()
	r := connect(t, w)
	r.hello(d, m)
	expect[*signal.Line](r)
	r.send(&signal.Join{})
	return r
}

func TestARoomThatOpensOnASlowDiskHoldsUpNoOther(t *testing.T) {
	w, disk := startStalling(t)
	a, b, c, d := w.Enrol("anna"), w.Enrol("ben"), w.Enrol("cleo"), w.Enrol("dora")
	slow, quick := w.OpenMeeting("anna", "ben", "dora"), w.OpenMeeting("cleo", "dora")
	release := disk.stall(slow)
	defer release()
	anna, ben := come(t, w, a, "anna", slow), come(t, w, b, "ben", slow)
	wait(t, "the disk to be asked", 5*time.Second, func() bool { return disk.asked.Load() > 0 })
	gone := joining(t, w, d, slow)
	began := time.Now()
	cleo, dora := come(t, w, c, "cleo", quick).in(), come(t, w, d, "dora", quick).in()
	alike(t, cleo, dora)
	t.Logf("two were in another meeting after %v", time.Since(began))
	gone.socket.CloseNow() // who gives up waiting leaves the others to it
	dora.Leave()
	alike(t, cleo)
	if n := disk.asked.Load(); n != 1 {
		t.Errorf("the room is opened %d times at once", n)
	}
	release()
	alike(t, anna.in(), ben.in())
	if n := disk.asked.Load(); n != 1 {
		t.Errorf("the room was opened %d times", n)
	}
}

func TestARoomThatCannotBeOpenedLetsNobodyInAndIsTriedAgain(t *testing.T) {
	w, disk := startStalling(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := w.OpenMeeting("anna", "ben")
	release := disk.stall(m)
	disk.failed.Store(true)
	first, second := joining(t, w, a, m), joining(t, w, b, m)
	wait(t, "the disk to be asked", 5*time.Second, func() bool { return disk.asked.Load() > 0 })
	release()
	for _, r := range []*raw{first, second} {
		if f := expect[*signal.Failed](r); f.Of != "join" || f.Reason.Code != "server_trouble" {
			t.Errorf("answered %+v", f)
		}
	}
	disk.failed.Store(false)
	first.send(&signal.Join{})
	expect[*signal.Admitted](first)
	alike(t, come(t, w, b, "ben", m).in())
}

func TestAMeetingThatEndsWhileItsRoomIsOpenedHasNobodyIn(t *testing.T) {
	w, disk := startStalling(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := w.OpenMeeting("anna", "ben")
	anna, ben := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in()
	alike(t, anna, ben)
	release := disk.stall(m)
	defer release()
	// The room fails, and is opened anew, with their places, for whoever comes back first.
	w.Server.FailRoom(m)
	wait(t, "the disk to be asked", 5*time.Second, func() bool { return disk.asked.Load() > 0 })
	answer := httptest.NewRecorder()
	w.Server.AdminHandler().ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/meetings/"+m.Text()+"/end", strings.NewReader("{}")))
	if answer.Code != http.StatusOK {
		t.Fatalf("not ended: %d", answer.Code)
	}
	from := []int{anna.count(), ben.count()}
	release()
	for i, g := range []*guest{anna, ben} {
		g.await("end", 0, func(e endpoint.Event) bool {
			return e.State != nil && (e.State.State == endpoint.StateEnded || e.State.State == endpoint.StateRefused)
		})
		for _, e := range g.events[from[i]:] {
			if e.State != nil && e.State.State == endpoint.StateIn {
				t.Errorf("%s is in a meeting that is over", g.name)
			}
		}
	}
}

func TestAServerEndsThoughARoomIsBeingOpened(t *testing.T) {
	w, disk := startStalling(t)
	a := w.Enrol("anna")
	m := w.OpenMeeting("anna")
	disk.stall(m) // and never lets go
	joining(t, w, a, m)
	wait(t, "the disk to be asked", 5*time.Second, func() bool { return disk.asked.Load() > 0 })
	began := time.Now()
	w.Stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}
