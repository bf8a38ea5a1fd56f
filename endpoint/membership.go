package endpoint

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"time"

	"conclave"
	"conclave/gate"
	"conclave/mls"
	"conclave/mls/member"
	"conclave/pass"
	"conclave/signal"
)

// membership is this endpoint's part in one group.
type membership struct {
	group   *member.Group
	trust   *trust
	entered bool
	founder bool      // made the group
	tries   int       // lost races
	since   time.Time // of the epoch

	staged   *member.Staged   // the own commit that the server has not ordered yet
	commits  int              // how many of known it commits
	again    bool             // the server had trouble with it: it is to be handed in again
	doubtful []*member.Staged // own commits of this epoch that the server says it did not order
	// known are the proposals of this epoch that passed the room's rules, and whom they remove.
	known map[string]removal
	// recent are the last commits that were applied: after a reconnect the server may send one again.
	recent [][32]byte

	barred  map[conclave.DeviceID]time.Time // whose pass has lapsed, and since when that is known
	asked   mls.LeafIndex                   // whose removal this member proposed last, in which epoch and when
	askedIn mls.Epoch
	askedAt time.Time

	leaves map[mls.LeafIndex]*pass.Leaf // all leaves, verified
	read   map[mls.LeafIndex]reading    // from what leaves was made
	order  []mls.LeafIndex              // their indices, rising
	live   []liveEpoch                  // whose keys the media owner has, the current one last
}

type removal struct {
	leaf   mls.LeafIndex
	change *pass.MeetingContext // what the group shall be for, instead of a removal; nil: none
	own    bool                 // proposed by the one who goes
	at     time.Time
}

// reading is what a verified leaf was read from.
type reading struct {
	node    *mls.LeafNode
	renewed *byte // of the renewed pass; nil: the one in the leaf
	want    pass.MeetingContext
}

type liveEpoch struct {
	epoch uint64
	until time.Time // zero for the current one
}

const (
	// grace is how long frames of an old epoch may still be opened: those on the way when it changed.
	grace = 10 * time.Second
	// maxLive bounds the epochs that the media owner keeps: a key id tells 256 apart.
	maxLive   = 64
	maxRecent = 64
	// maxGroups is a bound on waiting removals; a room has fewer members.
	maxKnown = 1024
	keyLabel = "SFrame 1.0 Base Key" // RFC 9605, Section 5.2
	keySize  = 32
)

var (
	errGroupInfo = errors.New("endpoint: group information is not for this room")
	errGroupSize = errors.New("endpoint: group is too large")
)

// maxMembers bounds a room: the key id has 12 bits for a leaf.
const maxMembers = 4096

func (s *session) memberConfig() member.Config {
	return member.Config{Suite: gate.Suite, Signer: s.cfg.Identity.Signer, Verifier: s.trust, Verify: s.cfg.Verify, Rand: s.cfg.Rand}
}

// ownLeaf is what stands in the own leaf: who, and the pass.
func (s *session) ownLeaf() member.Leaf {
	return member.Leaf{
		Credential: mls.BasicCredential(s.cfg.Identity.Statement),
		Capabilities: &mls.Capabilities{
			Versions:     []mls.ProtocolVersion{mls.MLS10},
			CipherSuites: []mls.CipherSuite{gate.Suite},
			Extensions:   gate.Extensions,
			Credentials:  []mls.CredentialType{mls.CredentialBasic},
		},
		Extensions: mls.Extensions{
			{Type: pass.ExtensionPass, Data: s.admitted.Pass},
			{Type: pass.ExtensionLogProof, Data: s.admitted.LogProof},
		},
	}
}

// found makes the room's group, of which this endpoint is the first member.
func (s *session) found(now time.Time) (*membership, *signal.Enter, error) {
	keys := s.trust.RemovalKeys(now)
	if len(keys) == 0 {
		return nil, nil, errNoRemoval
	}
	id := append(mls.GroupID(nil), s.trust.want.Meeting[:]...)
	id = append(id, make([]byte, gate.GroupIDSize-len(id))...)
	if _, err := io.ReadFull(s.cfg.Rand, id[len(s.trust.want.Meeting):]); err != nil {
		return nil, nil, err
	}
	g, err := member.Create(s.memberConfig(), id, gate.ContextExtensions(s.trust.want, keys[0]), s.ownLeaf(), now)
	if err != nil {
		return nil, nil, err
	}
	info, err := g.GroupInfo(false)
	if err != nil {
		g.Wipe()
		return nil, nil, err
	}
	m := &membership{group: g, trust: s.trust, founder: true}
	return m, &signal.Enter{Epoch: uint64(g.Epoch()), GroupInfo: info, Tree: mls.Marshal(g.Tree())}, nil
}

// joinGroup makes the external commit by which this endpoint becomes a member of the room's group.
func (s *session) joinGroup(from *signal.Group, now time.Time) (*membership, *signal.Enter, error) {
	var msg mls.Message
	if err := mls.Unmarshal(from.GroupInfo, &msg); err != nil {
		return nil, nil, err
	}
	info := msg.GroupInfo
	if info == nil || uint64(info.GroupContext.Epoch) != from.Epoch {
		return nil, nil, errGroupInfo
	}
	if err := s.trust.adopt(info.GroupContext, now); err != nil {
		return nil, nil, err
	}
	tree, err := mls.ParseRatchetTree(gate.Suite, from.Tree)
	if err != nil {
		return nil, nil, err
	}
	if tree.MemberCount() >= maxMembers {
		return nil, nil, errGroupSize
	}
	for _, p := range from.Passes {
		if err := s.trust.renew(p.Pass); err != nil {
			// One that has just run out may be sent along with a newer one; whether each leaf has a good one is seen below.
			s.cfg.Log.Debug("renewed pass not taken", "cause", err)
		}
	}
	s.trust.proveTree(tree, now)
	_, back := tree.FindSignatureKey(s.cfg.Identity.Signer.Public())
	g, commit, err := member.JoinExternal(s.memberConfig(), info, tree, s.ownLeaf(), member.ExternalOptions{Resync: back}, now)
	if err != nil {
		return nil, nil, err
	}
	after, err := g.GroupInfo(false)
	if err != nil {
		g.Wipe()
		return nil, nil, err
	}
	m := &membership{group: g, trust: s.trust}
	return m, &signal.Enter{Epoch: from.Epoch, Commit: commit, GroupInfo: after}, nil
}

// readLeaves proves all leaves of the epoch. A member whose pass has run out since stays as last proven: that is look's
// to tell.
func (m *membership) readLeaves(now time.Time) {
	leaves := make(map[mls.LeafIndex]*pass.Leaf)
	m.order = m.order[:0]
	read := make(map[mls.LeafIndex]reading, len(m.read))
	for at, l := range m.group.Tree().Members() {
		// Nodes are never written to: the same node under the same pass says the same.
		as := reading{node: l, renewed: m.trust.newest(l), want: m.trust.want}
		if old := m.leaves[at]; old != nil && m.read[at] == as {
			leaves[at], read[at] = old, as
			m.order = append(m.order, at)
			continue
		}
		found, err := m.trust.leaf(l, now)
		if err == nil {
			as.renewed = m.trust.newest(l) // a forged one is forgotten by now
			read[at] = as
		} else {
			old := m.leaves[at]
			if old == nil || !bytes.Equal(old.Statement.LeafKey, l.SignatureKey) {
				continue // cannot be: the group has verified it
			}
			found = old
		}
		leaves[at] = found
		m.order = append(m.order, at)
	}
	slices.Sort(m.order)
	m.leaves, m.read = leaves, read
}

// keys exports what frames of this epoch are sealed under.
func (m *membership) keys(lapsed func(mls.LeafIndex) bool) (EpochKeys, error) {
	key, err := m.group.Export(keyLabel, nil, keySize)
	if err != nil {
		return EpochKeys{}, err
	}
	k := EpochKeys{Epoch: uint64(m.group.Epoch()), Leaf: uint32(m.group.OwnLeaf()), BaseKey: key, First: len(m.live) == 0}
	for _, at := range m.order {
		if at == m.group.OwnLeaf() || !lapsed(at) {
			k.Members = append(k.Members, uint32(at))
		}
	}
	return k, nil
}

// difference says who came and who went, by device.
func difference(before, after map[mls.LeafIndex]*pass.Leaf) (came, went []string) {
	devices := func(leaves map[mls.LeafIndex]*pass.Leaf) map[conclave.DeviceID]string {
		out := make(map[conclave.DeviceID]string, len(leaves))
		for _, l := range leaves {
			out[l.Statement.Device()] = l.Statement.Name
		}
		return out
	}
	b, a := devices(before), devices(after)
	for id, name := range a {
		if _, ok := b[id]; !ok {
			came = append(came, name)
		}
	}
	for id, name := range b {
		if _, ok := a[id]; !ok {
			went = append(went, name)
		}
	}
	slices.Sort(came)
	slices.Sort(went)
	return came, went
}

// maxDoubtful bounds the own commits of an epoch whose fate is not known.
const maxDoubtful = 4

// doubtStaged sets the own commit aside: the server did not order it, by its own word. It may have done so all the same, and
// have failed to say it: then the commit comes back, and must be known.
func (m *membership) doubtStaged() {
	if m.staged == nil {
		return
	}
	if len(m.doubtful) == maxDoubtful {
		m.doubtful[0].Wipe()
		m.doubtful = m.doubtful[1:]
	}
	m.doubtful, m.staged = append(m.doubtful, m.staged), nil
}

// takeOwn returns the own commit that message is, nil if it is none of this epoch's. The caller merges it.
func (m *membership) takeOwn(message []byte) *member.Staged {
	if own := m.staged; own != nil && bytes.Equal(own.Message(), message) {
		m.staged = nil
		return own
	}
	for i, own := range m.doubtful {
		if bytes.Equal(own.Message(), message) {
			m.doubtful = slices.Delete(m.doubtful, i, i+1)
			return own
		}
	}
	return nil
}

// dropStaged forgets the own commits of an epoch that is over.
func (m *membership) dropStaged() {
	if m.staged != nil {
		m.staged.Wipe()
		m.staged = nil
	}
	for _, s := range m.doubtful {
		s.Wipe()
	}
	m.doubtful = nil
}

// remember keeps a commit's digest.
func (m *membership) remember(message []byte) {
	if len(m.recent) >= maxRecent {
		m.recent = m.recent[1:]
	}
	m.recent = append(m.recent, digest(message))
}

func (m *membership) wipe() {
	m.dropStaged()
	m.group.Wipe()
}
