package identity

import (
	"crypto/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/audit"
	"conclave/pass"
	"conclave/signal"
)

func (w world) open(t *testing.T, m Meeting) Meeting {
	t.Helper()
	m.Title, m.Chair, m.Door = "Liaison", "anna.weber", DoorChair
	m, err := w.OpenMeeting(t.Context(), m, rand.Reader, now)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAGuestIsBoundToOneMeetingAndNamedByTheInvitation(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	m, other := w.open(t, Meeting{Until: now.Add(2 * time.Hour)}), w.open(t, Meeting{})
	token, err := w.Invite(ctx, m.ID, "Lena Berg", "Ally", rand.Reader, now)
	if err != nil {
		t.Fatal(err)
	}
	key, e := enrolment(t, token)
	_, _, err = w.EnrolGuest(ctx, e, other.ID, now)
	wantProblem(t, err, "invitation_unknown")
	_, _, err = w.Enrol(ctx, e, now)
	wantProblem(t, err, "link_unknown") // an invitation is no link for a colleague
	b, device, err := w.EnrolGuest(ctx, e, m.ID, now)
	if err != nil {
		t.Fatal(err)
	}
	s, err := w.org.Trust.Statement(b, now)
	if err != nil {
		t.Fatal(err)
	}
	if s.Kind != pass.KindGuest || s.Assurance != conclave.AssuranceGuest || s.Name != "Lena Berg" || s.Unit != "Ally" ||
		!strings.HasPrefix(string(s.Person), "guest.") || len(s.Person) != len("guest.")+16 || !s.NotAfter.Equal(m.Until) {
		t.Errorf("kind %v, assurance %d, until %v", s.Kind, s.Assurance, s.NotAfter)
	}
	if device.Guest == nil || device.Guest.Meeting != m.ID {
		t.Error("the device is bound to no meeting")
	}
	_, again := enrolment(t, token)
	_, _, err = w.EnrolGuest(ctx, again, m.ID, now)
	wantProblem(t, err, "invitation_used")

	r := Renewal{Statement: b, Nonce: []byte("n"), Host: "h", Signature: sign(t, key, signal.RenewContent([]byte("n"), b, "h"))}
	if _, d, err := w.Renew(ctx, r, now.Add(time.Hour)); err != nil || !d.Until.Equal(m.Until) {
		t.Errorf("renewed until %v, %v", d.Until, err)
	}
	if err := w.EndMeeting(ctx, m.ID, now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	_, _, err = w.Renew(ctx, r, now.Add(time.Hour))
	wantProblem(t, err, "meeting_over")
	_, err = w.Invite(ctx, m.ID, "Lena Berg", "", rand.Reader, now.Add(time.Hour))
	wantProblem(t, err, "meeting_over")
}

func TestAnInvitationRunsOut(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	short, long := w.open(t, Meeting{Until: now.Add(time.Hour)}), w.open(t, Meeting{Until: now.Add(14 * 24 * time.Hour)})
	for m, life := range map[conclave.MeetingID]time.Duration{short.ID: time.Hour, long.ID: invitationLife} {
		token, err := w.Invite(ctx, m, "Lena Berg", "", rand.Reader, now)
		if err != nil {
			t.Fatal(err)
		}
		_, e := enrolment(t, token)
		_, _, err = w.EnrolGuest(ctx, e, m, now.Add(life))
		wantProblem(t, err, "invitation_expired")
		if _, _, err := w.EnrolGuest(ctx, e, m, now.Add(life-time.Minute)); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", " ", "a\nb", strings.Repeat("n", 200)} {
		_, err := w.Invite(ctx, long.ID, name, "", rand.Reader, now)
		wantProblem(t, err, "person_name")
	}
	_, err := w.Invite(ctx, conclave.MeetingID{1}, "Lena", "", rand.Reader, now)
	wantProblem(t, err, "meeting_unknown")
}

func TestAColleagueNeverLooksLikeAGuest(t *testing.T) {
	w := newWorld(t)
	for _, id := range []conclave.PersonID{"guest.0123456789abcdef", "gateway.x"} {
		wantProblem(t, w.AddPerson(t.Context(), Person{ID: id, Name: "Anna"}, now), "person_id")
	}
}

func TestAMeetingHasItsTime(t *testing.T) {
	w := newWorld(t)
	for name, m := range map[string]Meeting{
		"over before it begins": {From: now.Add(2 * time.Hour), Until: now.Add(time.Hour)},
		"over already":          {Until: now},
		"in two years":          {From: now.Add(2 * 366 * 24 * time.Hour)},
	} {
		m.Title, m.Chair, m.Door = name, "anna.weber", DoorInvited
		_, err := w.OpenMeeting(t.Context(), m, rand.Reader, now)
		t.Run(name, func(t *testing.T) { wantProblem(t, err, "meeting_time") })
	}
	m := w.open(t, Meeting{From: now.Add(time.Hour), Until: now.Add(2 * time.Hour)})
	if got, err := w.Meeting(t.Context(), m.ID); err != nil || !got.From.Equal(m.From) || !got.Until.Equal(m.Until) {
		t.Error(err)
	}
}

func TestNoMeetingGoesOnForEver(t *testing.T) {
	w := newWorld(t)
	if m := w.open(t, Meeting{}); !m.Until.Equal(now.Add(UsualLength)) {
		t.Errorf("without an end it ends at %v", m.Until)
	}
	later := now.Add(48 * time.Hour)
	if m := w.open(t, Meeting{From: later}); !m.Until.Equal(later.Add(UsualLength)) {
		t.Errorf("one that begins later ends at %v", m.Until)
	}
	if m := w.open(t, Meeting{From: later, Until: later.Add(LongestLength)}); !m.Until.Equal(later.Add(LongestLength)) {
		t.Errorf("the longest ends at %v", m.Until)
	}
	too := Meeting{Title: "x", Chair: "anna.weber", Door: DoorInvited, Until: now.Add(LongestLength + time.Minute)}
	_, err := w.OpenMeeting(t.Context(), too, rand.Reader, now)
	wantProblem(t, err, "meeting_long")

	// What the operator says holds; and where the longest is shorter than the usual, it is the usual.
	w.SetLengths(Lengths{Longest: 3 * time.Hour})
	if m := w.open(t, Meeting{}); !m.Until.Equal(now.Add(3 * time.Hour)) {
		t.Errorf("with three hours at most it ends at %v", m.Until)
	}
	too.Until = now.Add(4 * time.Hour)
	_, err = w.OpenMeeting(t.Context(), too, rand.Reader, now)
	wantProblem(t, err, "meeting_long")

	// One that was opened before every meeting had an end has one too.
	m := w.open(t, Meeting{})
	m.Until = time.Time{}
	if err := w.put(t.Context(), meetingKey(m.ID), m); err != nil {
		t.Fatal(err)
	}
	if old, err := w.Meeting(t.Context(), m.ID); err != nil || !old.Until.Equal(now.Add(3*time.Hour)) {
		t.Errorf("the old one ends at %v, %v", old.Until, err)
	}
	list, err := w.Meetings(t.Context())
	if err != nil || slices.ContainsFunc(list, func(m Meeting) bool { return m.Until.IsZero() }) {
		t.Errorf("%v: the list has one without an end", err)
	}

	for _, bad := range []Lengths{{Usual: -1}, {Longest: -1}, {Usual: 2 * time.Hour, Longest: time.Hour}, {Longest: maxAhead + 1}, {Usual: LongestLength + 1}} {
		if bad.Check() == nil {
			t.Errorf("%+v passes", bad)
		}
	}
	for _, good := range []Lengths{{}, {Usual: time.Hour}, {Longest: time.Hour}} {
		if err := good.Check(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
}

func TestTheRecordSaysWhoAskedForAnInvitation(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	if err := w.AddPerson(ctx, Person{ID: "ben.berg", Name: "Ben"}, now); err != nil {
		t.Fatal(err)
	}
	m, err := w.OpenMeeting(ctx, Meeting{Title: "Weekly", Chair: "anna.weber", Door: DoorInvited}, rand.Reader, now)
	if err != nil {
		t.Fatal(err)
	}
	for by, want := range map[conclave.PersonID]string{"anna.weber": "chair", "ben.berg": "person", "": "administrator"} {
		if _, err := w.InviteFor(ctx, by, m.ID, "Lena Berg", "Ally", rand.Reader, now); err != nil {
			t.Fatal(err)
		}
		entries, err := w.log.Read(ctx, 1, 100)
		if err != nil {
			t.Fatal(err)
		}
		r := entries[len(entries)-1].Record
		if r.Kind != audit.KindInvitation || !slices.Equal(r.Codes, []string{want}) || !IsGuest(r.Person) || by != "" && !r.Concerns(by) || by == "" && len(r.People) != 0 {
			t.Errorf("%q: recorded %+v", by, r)
		}
	}
	// Whose name is in the record is in its personal part: erased with them, and with the guest.
	if done, err := w.log.Erase(ctx, now, func(e audit.Entry) bool {
		return e.Record.Concerns("ben.berg") && e.Record.Kind == audit.KindInvitation
	}); err != nil || done.Records != 1 {
		t.Errorf("erased %d, %v", done.Records, err)
	}
	_, err = w.InviteFor(ctx, "nobody", m.ID, "Lena Berg", "Ally", rand.Reader, now)
	wantProblem(t, err, "person_unknown")
	if _, err := w.RemovePerson(ctx, "ben.berg", now); err != nil {
		t.Fatal(err)
	}
	_, err = w.InviteFor(ctx, "ben.berg", m.ID, "Lena Berg", "Ally", rand.Reader, now)
	wantProblem(t, err, "person_removed")
}
