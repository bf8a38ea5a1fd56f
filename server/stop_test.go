package server_test

import (
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"conclave/audit"
	"conclave/server/servertest"
)

// unwritten finds in a server's log how many records it says were lost at its end.
var unwritten = regexp.MustCompile(`"msg":"records of what protected are lost[^}]*"records":([0-9]+)`)

// A server that is told to end while notes wait for the disk waits for it too, for a few seconds.
func TestWhatWaitsForTheDiskIsWrittenBeforeAServerEnds(t *testing.T) {
	t.Parallel()
	w, disk := startBroken(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := openRestricted(w, "anna", "ben")
	anna, ben := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in()
	alike(t, anna, ben)
	leg := anna.leg("ben")
	disk.appends.Store(true)
	anna.Remove(leg, "other")
	ben.await("end", 0, reason("removed_other"))
	if n, _ := w.Server.Audit().Waiting(); n == 0 {
		t.Fatal("nothing waits for the disk")
	}
	time.AfterFunc(1500*time.Millisecond, func() { disk.appends.Store(false) })
	began := time.Now()
	w.Stop()
	if took := time.Since(began); took < time.Second || took > 12*time.Second {
		t.Errorf("the server ended after %v", took)
	}
	if lost := unwritten.FindString(w.Log()); lost != "" {
		t.Errorf("it says: %s", lost)
	}
	w.Restart()
	if removals := kindsOf(w, m, audit.KindRemoval); len(removals) != 1 || removals[0].Record.Leg != leg {
		t.Errorf("recorded %+v", removals)
	}
	if codes := lastStart(w); len(codes) != 0 {
		t.Errorf("the next start says %v", codes)
	}
}

// lastStart returns what the record of the newest start says.
func lastStart(w *servertest.World) (codes []string) {
	for _, e := range w.Records() {
		if e.Record.Kind == audit.KindStarted {
			codes = e.Record.Codes
		}
	}
	return codes
}

// One whose disk stays away ends all the same, soon, and says how many records are lost.
func TestAServerWhoseDiskStaysAwayEndsAndSaysWhatIsLost(t *testing.T) {
	t.Parallel()
	w, disk := startBroken(t)
	a, b := w.Enrol("anna"), w.Enrol("ben")
	m := openRestricted(w, "anna", "ben")
	anna, ben := come(t, w, a, "anna", m).in(), come(t, w, b, "ben", m).in()
	alike(t, anna, ben)
	disk.appends.Store(true)
	anna.Remove(anna.leg("ben"), "other")
	ben.await("end", 0, reason("removed_other"))
	began := time.Now()
	w.Stop()
	if took := time.Since(began); took < 4*time.Second || took > 20*time.Second {
		t.Errorf("the server ended after %v", took)
	}
	said := unwritten.FindStringSubmatch(w.Log())
	if said == nil {
		t.Fatalf("it does not say that records are lost")
	}
	if n, err := strconv.Atoi(said[1]); err != nil || n == 0 {
		t.Errorf("it says that %s records are lost", said[1])
	}
	disk.appends.Store(false)
	w.Restart() // and the log that it left is whole
	if removals := kindsOf(w, m, audit.KindRemoval); len(removals) != 0 {
		t.Errorf("the removal was recorded all the same: %+v", removals)
	}
	if codes := lastStart(w); !slices.Equal(codes, []string{"not_ended"}) {
		t.Errorf("the next start says %v", codes)
	}
	w.Restart()
	if codes := lastStart(w); len(codes) != 0 {
		t.Errorf("and the one after it, behind an end in peace, says %v", codes)
	}
}
