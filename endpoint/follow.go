package endpoint

import (
	"errors"
	"math/bits"
	"slices"
	"time"

	"conclave"
	"conclave/gate"
	"conclave/mls"
	"conclave/mls/member"
	"conclave/pass"
	"conclave/signal"
)

const (
	// enterTries is how often an endpoint that lost the race into the group tries again: of a hundred who come in the same
	// second, one wins each time.
	enterTries = 64
	// rankStep is what each member waits for the one before it to commit a removal.
	rankStep = 300 * time.Millisecond
	// Members renew their keys by themselves, at different times (design, decision "Keys").
	refreshAfter  = 30 * time.Minute
	refreshSpread = 30 * time.Minute
	// settleEnd is how long the server's word may lag behind the commit that removes this endpoint.
	settleEnd = time.Second
)

var (
	errEpoch    = errors.New("endpoint: commit of another epoch")
	errNotSelf  = errors.New("endpoint: the server acknowledges another leaf or epoch")
	errAppeared = errors.New("endpoint: a leaf cannot be proven")
	errUnfit    = errors.New("endpoint: commit cannot be read, or does not fit the group")
)

// disagree is an alarm over the room's keys, by what it is that the server says of them and this endpoint finds otherwise.
func disagree(code, said, held, fix string) conclave.Problem {
	return about(code, fix, "said", said, "held", held)
}

// unfit is an alarm over keys of the room that do not hold: those of an epoch, by its number.
func unfit(epoch uint64, fix string) conclave.Problem {
	return about("alarm_group_unfit", fix, "keys", decimal(epoch))
}

// enterGroup makes or joins the group and hands in what that takes. try counts lost races.
func (s *session) enterGroup(from *signal.Group, try int) {
	now := s.cfg.Now()
	var m *membership
	var enter *signal.Enter
	var err error
	if from == nil {
		m, enter, err = s.found(now)
	} else {
		m, enter, err = s.joinGroup(from, now)
	}
	if err != nil {
		var epoch uint64
		if from != nil {
			epoch = from.Epoch
		}
		s.abandon(problemOr(err, unfit(epoch, "leave_and_report")), err)
		return
	}
	// The old group, if any, is kept by nobody: its frames come over a media path that is gone.
	s.replaceMember(m)
	m.tries = try
	s.send(enter)
	s.after(dueAnswer, answerLimit)
}

func (s *session) replaceMember(m *membership) {
	if s.member != nil {
		for _, l := range s.member.live {
			s.cfg.Media.Retire(l.epoch)
		}
		s.member.wipe()
	}
	s.forget(dueCommit)
	s.member = m
}

// entered is the acknowledgement: this endpoint is a member.
func (s *session) entered(m *signal.Entered) {
	if s.member == nil || s.member.entered || s.wire == nil {
		s.lost(errOutOfTurn)
		return
	}
	if group := s.member.group; m.Epoch != uint64(group.Epoch()) {
		s.abandon(disagree("alarm_group", decimal(m.Epoch), decimal(uint64(group.Epoch())), "leave_and_report"), errNotSelf)
		return
	} else if mls.LeafIndex(m.Leaf) != group.OwnLeaf() {
		s.abandon(disagree("alarm_group_place", decimal(uint64(m.Leaf)), decimal(uint64(group.OwnLeaf())), "leave_and_report"), errNotSelf)
		return
	}
	s.member.entered = true
	s.beginLedger()
	s.backIn()
	s.newEpoch(nil)
	s.refreshLater()
}

// backIn is what a leg does whenever it is in, for the first time or again.
func (s *session) backIn() {
	s.forget(dueAnswer)
	s.failed = 0
	s.lostAt = nil
	if s.shown != nil {
		s.send(s.shown)
	}
	s.enter(StateIn)
	s.ledgerAgain()
	s.looked = s.cfg.Now()
	s.after(dueLook, settle)
	s.heartbeat.reset()
	s.after(dueListen, listenEvery)
}

// stale is a lost race. A joiner tries again from the state that it is given; a member waits for the winner's commit.
func (s *session) stale(m *signal.Stale) {
	if s.member == nil {
		s.lost(errOutOfTurn)
		return
	}
	if s.member.entered {
		s.member.doubtStaged()
		s.planCommit()
		return
	}
	try := s.member.tries + 1
	if try > enterTries {
		s.finish(StateRefused, &conclave.Problem{Code: "room_too_busy", Fix: "join_again"})
		return
	}
	s.enterGroup(m.Group, try)
}

// resume brings the group up to date after a lost line.
func (s *session) resume(m *signal.Admitted) {
	if s.member == nil || !s.member.entered || s.place == nil || s.place.Leg != m.Leg {
		held := "–"
		if s.place != nil {
			held = s.place.Leg.Text()[:8]
		}
		s.abandon(disagree("alarm_group_visit", m.Leg.Text()[:8], held, "join_again"), errOutOfTurn)
		return
	}
	s.resuming = true // the passes that belong to what was missed come behind it
	defer func() { s.resuming = false }()
	for i := range m.Commits {
		c := &m.Commits[i]
		for _, p := range c.Proposals {
			if s.proposal(&signal.Proposal{Epoch: c.Epoch, Message: p}); s.over || s.wire == nil {
				return
			}
		}
		if s.commit(c); s.over || s.wire == nil {
			return
		}
	}
	for i := range m.Pending {
		if s.proposal(&m.Pending[i]); s.over || s.wire == nil {
			return
		}
	}
	s.backIn()
	s.after(dueLapse, settle)
	s.showRoster()
	if s.member.staged != nil {
		s.sendStaged() // it was not ordered: the line broke before
		return
	}
	s.planCommit()
	s.freshLeaf()
}

// commit applies a commit that the server ordered. What breaks a rule is not followed: the endpoint keeps its epoch and
// leaves.
func (s *session) commit(m *signal.Commit) {
	if s.member == nil || !s.member.entered {
		return // ordered before this endpoint came in
	}
	if slices.Contains(s.member.recent, digest(m.Message)) {
		return
	}
	group := s.member.group
	if m.Epoch > uint64(group.Epoch()) {
		s.lost(errEpoch) // something was missed: the resume brings it
		return
	}
	if err := s.apply(m); err != nil {
		code := "alarm_commit"
		if errors.Is(err, errUnfit) {
			code = "alarm_commit_unfit"
		}
		s.abandon(problemOr(err, about(code, "leave_and_report", "name", s.sentBy(m.Message), "keys", decimal(m.Epoch))), err)
	}
}

func (s *session) apply(m *signal.Commit) error {
	group, now := s.member.group, s.cfg.Now()
	if m.Epoch != uint64(group.Epoch()) {
		return errors.Join(errUnfit, errEpoch)
	}
	if own := s.member.takeOwn(m.Message); own != nil {
		if err := group.Merge(own); err != nil {
			return errors.Join(errUnfit, err)
		}
	} else {
		public, err := gate.ReadPublic(m.Message, mls.ContentCommit)
		if err != nil {
			return errors.Join(errUnfit, err)
		}
		known := func(ref mls.ProposalRef) bool { _, ok := s.member.known[string(ref)]; return ok }
		if err := gate.CheckCommit(public, group.Tree(), known); err != nil {
			return err
		}
		processed, err := group.Process(m.Message, now)
		if err != nil {
			return errors.Join(errUnfit, err)
		}
		if processed.Removed {
			// The server's own word on why follows. Without it the end comes all the same: whoever is out of the group
			// must not go on speaking to those with whom it shared the last keys.
			processed.Commit.Wipe()
			s.out = &conclave.Problem{Code: "removed_other", Fix: "call_chair"}
			s.after(dueEnd, settleEnd)
			return nil
		}
		if err := group.Merge(processed.Commit); err != nil {
			return err
		}
	}
	s.member.dropStaged()
	s.member.remember(m.Message)
	if err := s.trust.follow(group.Context(), now); err != nil {
		return err
	}
	went := s.member.known
	s.member.known = nil
	s.newEpoch(went)
	return nil
}

// newEpoch hands out the keys of the group's epoch and says what changed. removals are the proposals that led to it.
func (s *session) newEpoch(removals map[string]removal) {
	m, now := s.member, s.cfg.Now()
	before := m.leaves
	m.readLeaves(now)
	m.since = now
	if len(m.order) != m.group.Tree().MemberCount() {
		s.abandon(disagree("alarm_group_people", decimal(uint64(m.group.Tree().MemberCount())), decimal(uint64(len(m.order))), "leave_and_report"), errAppeared)
		return
	}
	keys, err := m.keys(s.lapsed)
	if err != nil {
		s.abandon(unfit(uint64(m.group.Epoch()), "join_again"), err)
		return
	}
	if s.place != nil {
		s.place.Epoch = keys.Epoch
	}
	s.forget(dueCommit)
	s.contexts.epoch()
	if n := len(m.live); n > 0 {
		m.live[n-1].until = now.Add(grace)
	}
	m.live = append(m.live, liveEpoch{epoch: keys.Epoch})
	s.cfg.Media.Keys(keys)
	for len(m.live) > maxLive {
		s.cfg.Media.Retire(m.live[0].epoch)
		m.live = m.live[1:]
	}
	s.retire()
	s.showCode(before, removals)
	s.showRoster()
	s.linkLog()
	s.enforce()
	if s.crowded && len(m.order) <= s.admitted.Slots.Audio {
		s.showSlots() // it is crowded no longer, whatever the server says
	}
	if !s.resuming {
		s.freshLeaf()
	}
}

// retire wipes old epochs whose grace is over, and comes back for the next.
func (s *session) retire() {
	if s.member == nil {
		return
	}
	m, now := s.member, s.cfg.Now()
	for len(m.live) > 1 && !m.live[0].until.After(now) {
		s.cfg.Media.Retire(m.live[0].epoch)
		m.live = m.live[1:]
	}
	if len(m.live) > 1 {
		s.due[dueRetire] = m.live[0].until
	}
}

// showCode tells the security code and why it changed.
func (s *session) showCode(before map[mls.LeafIndex]*pass.Leaf, removals map[string]removal) {
	m := s.member
	e := &CodeEvent{Epoch: uint64(m.group.Epoch()), Since: m.since, Who: []string{}}
	authenticator := m.group.EpochAuthenticator()
	e.Groups = securityCode(gate.Suite, authenticator, m.group.GroupID())
	clear(authenticator)
	came, went := difference(before, m.leaves)
	switch {
	case before == nil && m.founder:
		e.Why, e.Who = "began", []string{m.leaves[m.group.OwnLeaf()].Statement.Name}
	case before == nil:
		e.Why, e.Who = "came", []string{m.leaves[m.group.OwnLeaf()].Statement.Name}
	case len(went) > 0:
		e.Why, e.Who = s.whyWent(removals), went
	case len(came) > 0:
		e.Why, e.Who = "came", came
	default:
		e.Why = "renewed"
	}
	s.emit(Event{Code: e})
}

// whyWent tells going from being removed: by the own proposal, or by the server's for one whose line was lost, one went.
func (s *session) whyWent(removals map[string]removal) string {
	for _, r := range removals {
		if r.change != nil {
			continue
		}
		if r.own {
			return "went"
		}
		if s.roster != nil {
			for _, leg := range s.roster.Legs {
				if mls.LeafIndex(leg.Leaf) == r.leaf && leg.Lost != nil {
					return "went"
				}
			}
		}
	}
	return "removed"
}

// proposal takes the server's removal, or a member's wish to go.
func (s *session) proposal(m *signal.Proposal) {
	if s.member == nil || !s.member.entered || m.Epoch < uint64(s.member.group.Epoch()) {
		return // of an epoch that is over; the server proposes again where it still matters
	}
	group := s.member.group
	if m.Epoch > uint64(group.Epoch()) {
		s.lost(errEpoch)
		return
	}
	public, err := gate.ReadPublic(m.Message, mls.ContentProposal)
	var asks removal
	if err == nil {
		asks, err = s.readProposal(public)
	}
	ref := ""
	if err == nil {
		ref = string(public.Authenticated().ProposalRef(gate.Suite))
		if _, ok := s.member.known[ref]; ok || len(s.member.known) >= maxKnown {
			return
		}
		_, err = group.Process(m.Message, s.cfg.Now())
	}
	if errors.Is(err, gate.ErrOther) {
		// By the proposer's clock that member's pass has run out. It changes nothing.
		s.cfg.Log.Info("proposal not followed", "cause", err)
		return
	}
	if err != nil {
		// It changes nothing unless somebody commits it, which would not be followed.
		s.cfg.Log.Warn("proposal refused", "cause", err)
		s.alarm(about("alarm_proposal", "leave_and_report", "name", s.sentBy(m.Message), "whom", s.askedOf(public)))
		return
	}
	if s.member.known == nil {
		s.member.known = make(map[string]removal)
	}
	s.member.known[ref] = asks
	s.planCommit()
}

// readProposal applies the room's rules: somebody goes, or the group becomes one for a higher level or another policy. For the
// latter the own pass must be good; the others' are looked at when it is committed.
func (s *session) readProposal(public *mls.PublicMessage) (removal, error) {
	asks := removal{at: s.cfg.Now()}
	var err error
	if _, ok := public.Content.Proposal.(*mls.GroupContextExtensions); !ok {
		asks.leaf, err = gate.CheckProposal(public, s.lapsed)
		from := public.Content.Sender
		asks.own = from.Type == mls.SenderMember && from.Leaf == asks.leaf
		return asks, err
	}
	next, err := gate.CheckChange(public, s.trust.Trust, s.trust.want, s.cfg.Now())
	if err != nil {
		return asks, err
	}
	asks.change = &next
	return asks, nil
}

// planCommit sets the moment at which it is this member's turn to commit what is pending: the first in rank at once, each
// other a step after the one before it. Those whose line is lost are passed over.
func (s *session) planCommit() {
	if s.member == nil || len(s.member.known) == 0 || s.member.staged != nil {
		return
	}
	going := make([]mls.LeafIndex, 0, len(s.member.known))
	for _, r := range s.member.known {
		if r.change == nil {
			going = append(going, r.leaf)
		}
	}
	away := slices.Clone(going)
	if s.roster != nil {
		for _, leg := range s.roster.Legs {
			if leg.Lost != nil {
				away = append(away, mls.LeafIndex(leg.Leaf))
			}
		}
	}
	own := s.member.group.OwnLeaf()
	if slices.Contains(going, own) {
		return // somebody else's to do
	}
	turn := rank(own, going, away, s.member.order)
	s.after(dueCommit, time.Duration(turn)*rankStep)
}

// rank counts the members who commit the removal of going before own does: those nearest in the tree to a leaf that goes
// come first, among them the lowest. Whoever shares the lowest ancestor with it renews what it knew and leaves no blank
// node behind, so the commit is smallest: measured 17 kB at 100 members instead of 24 to 26 by the lowest leaf of all.
// away have no turn.
func rank(own mls.LeafIndex, going, away, members []mls.LeafIndex) int {
	distance := func(at mls.LeafIndex) int {
		nearest := 33
		for _, g := range going {
			nearest = min(nearest, bits.Len32(uint32(at^g)))
		}
		return nearest
	}
	before, mine := 0, distance(own)
	for _, at := range members {
		if at == own || slices.Contains(away, at) {
			continue
		}
		if d := distance(at); d < mine || d == mine && at < own {
			before++
		}
	}
	return before
}

// commitAgain is the pause before a commit is handed in again that the server had trouble with.
const commitAgain = time.Second

// commitRemovals commits the pending proposals, once more where the server had trouble with it.
func (s *session) commitRemovals() {
	m := s.member
	if m == nil || s.state != StateIn || m.staged != nil && !m.again {
		return
	}
	if m.staged != nil && m.commits == len(m.known) {
		s.sendStaged()
		return
	}
	m.doubtStaged() // somebody else is to go meanwhile
	if len(m.known) > 0 {
		s.handIn()
	}
}

// refresh renews the own keys, and brings the newest pass into the leaf.
func (s *session) refresh() {
	s.refreshLater()
	s.handIn()
}

func (s *session) refreshLater() {
	s.after(dueRefresh, refreshAfter+time.Duration(s.jitter()*float64(refreshSpread)))
}

// handIn commits whatever is pending, with new keys of one's own.
func (s *session) handIn() {
	if s.state != StateIn || s.member.staged != nil {
		return
	}
	m, now := s.member, s.cfg.Now()
	leaf := s.ownLeaf()
	staged, err := m.group.Commit(member.CommitOptions{Leaf: &leaf}, now)
	if err != nil {
		s.cfg.Log.Warn("commit not made", "cause", err)
		return
	}
	m.staged, m.commits, m.again = staged, len(m.known), false
	s.sendStaged()
}

func (s *session) sendStaged() {
	staged := s.member.staged
	s.member.again = false
	s.send(&signal.Commit{Epoch: uint64(s.member.group.Epoch()), Message: staged.Message(), GroupInfo: staged.GroupInfo()})
}

// proposeLeaving returns the own Remove proposal, or nothing where that fails: the server removes who has left.
func (s *session) proposeLeaving() []byte {
	p, err := s.member.group.Propose(&mls.Remove{Removed: s.member.group.OwnLeaf()}, s.cfg.Now())
	if err != nil {
		s.cfg.Log.Warn("leaving not proposed", "cause", err)
		return nil
	}
	return p
}
