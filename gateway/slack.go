package gateway

// slack finds out how many of the caller's frames wait without need. The call's clock and the room's are two, so some must wait;
// but what was once late, a busy moment of this machine, leaves frames behind that nothing ever takes away, and each is 20 ms
// that everybody hears the caller later.
type slack struct {
	low   int  // the fewest that were left since n was 0
	n     int  // takes
	spare bool // one beyond the reserve was never needed
	dry   int  // how often there was none where one was due
}

const (
	// slackTakes is how long none may be needed before one is left out: 3 s; twice as long each time that there were too few
	// since, up to a minute and a half: a machine that is busy again and again keeps what it needs for that.
	slackTakes  = 150
	slackDouble = 5
	// slackPatience is how long a pause of speech is waited for, to leave the frame out in: 1 s.
	slackPatience = 50
	// quietFrame is the loudness below which a frame is in a pause of speech: -50 dBov.
	quietFrame = 77
)

// take looks at a frame that was taken, with so many left behind it. It says whether to leave this one out and take the next.
func (s *slack) take(left int, quiet bool) bool {
	s.low = min(s.low, left)
	s.n++
	if !s.spare && s.n >= slackTakes<<min(s.dry, slackDouble) {
		s.spare = s.low >= ahead
		s.low, s.n = left, 0
	}
	if !s.spare || left < ahead || !quiet && s.n < slackPatience {
		return false
	}
	*s = slack{low: left - 1, dry: s.dry}
	return true
}

// ranDry says that a frame was due and none was there.
func (s *slack) ranDry() { *s = slack{dry: min(s.dry+1, slackDouble)} }
