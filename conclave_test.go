package conclave

import "testing"

func TestAMeetingsPointerHasOneSpelling(t *testing.T) {
	id := MeetingID{1, 2, 3}
	if got, err := ParseMeetingID(id.Text()); err != nil || got != id {
		t.Fatalf("%v, %v", got, err)
	}
	text := id.Text()
	for name, other := range map[string]string{
		"a line break in it": text[:5] + "\n" + text[5:],
		"one at its end":     text + "\r\n",
		"padding":            text + "==",
		"loose bits":         text[:21] + "B",
		"a short one":        text[:21],
		"a long one":         text + "A",
	} {
		if got, err := ParseMeetingID(other); err == nil {
			t.Errorf("%s: %q is read as %v", name, other, got)
		}
	}
}
