package pass_test

import (
	"testing"
	"time"

	"conclave"
	"conclave/pass"
	"conclave/pass/passtest"
)

func TestAReadinessIsTheAdmissionKeysAndNobodyElses(t *testing.T) {
	org := passtest.New(t, "bund.example", now)
	good := pass.Readiness{Organisation: "bund.example", Person: "anna.weber", Device: conclave.DeviceID{1}, Level: 2, LevelName: "RESTRICTED", Media: "udp",
		Codes: []string{"line_too_weak", "not_alone"}, Network: "unlisted", Country: "SG", Grade: conclave.GradeSealed,
		NotBefore: now, NotAfter: now.Add(24 * time.Hour)}
	b, err := pass.SignReadiness(org.Admission, &good)
	if err != nil {
		t.Fatal(err)
	}
	back, err := org.Trust().Readiness(b, now)
	if err != nil || back.Ready || len(back.Codes) != 2 || back.Country != "SG" {
		t.Fatalf("got %+v, %v", back, err)
	}
	if _, err := org.Trust().Readiness(b, now.Add(25*time.Hour)); code(err) != "readiness_expired" {
		t.Errorf("after its time: %q", code(err))
	}
	forged, _ := pass.SignReadiness(org.Enrolment, &good)
	if _, err := org.Trust().Readiness(forged, now); code(err) != "readiness_signature" {
		t.Errorf("signed by another key: %q", code(err))
	}
	for i := range b {
		b[i] ^= 1
		if _, err := org.Trust().Readiness(b, now); err == nil {
			t.Errorf("octet %d changed, and it counts", i)
		}
		b[i] ^= 1
	}
	contradiction := good
	contradiction.Ready = true
	if _, err := pass.SignReadiness(org.Admission, &contradiction); err == nil {
		t.Error("ready, with something missing, was signed")
	}
}
