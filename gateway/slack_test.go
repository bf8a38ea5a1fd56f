package gateway

import "testing"

func TestFramesThatNobodyNeedsAreLeftOutInPauses(t *testing.T) {
	var s slack
	left, out := 4, 0
	for i := range 20 * slackTakes { // a minute
		loud := i%100 < 90 // somebody who pauses now and then
		if s.take(left, !loud) {
			if loud {
				t.Fatal("a loud frame is left out, and the pause was near")
			}
			left--
			out++
		}
	}
	if left != ahead-1 || out != 4-left {
		t.Errorf("%d frames still wait, %d were left out", left, out)
	}
}

func TestASpareFrameGoesAlsoWhereNobodyPauses(t *testing.T) {
	s, out := slack{low: ahead}, 0
	for range slackTakes + slackPatience + 2 {
		if s.take(ahead, false) {
			out++
		}
	}
	if out == 0 {
		t.Error("who speaks without a pause is heard late for ever")
	}
}

func TestWhatIsNeededNowAndThenStays(t *testing.T) {
	var s slack
	for i := range 40 * slackTakes {
		left := ahead
		if i%(slackTakes-1) == 0 {
			left = 0 // a busy moment took all
		}
		if s.take(left, true) {
			t.Fatalf("left out at %d, and the next busy moment would have needed it", i)
		}
	}
	for dry := 1; dry < 10; dry++ {
		s.ranDry()
		n := 0
		for s.take(ahead, true); !s.take(ahead, true); n++ {
		}
		if want := slackTakes << min(dry, slackDouble); n < want-2 || n > 2*want {
			t.Errorf("left out %d frames after there were too few for time %d, want %d", n, dry, want)
		}
	}
}
