package member

import (
	"bytes"
	"testing"

	"conclave/mls"
)

// FuzzProcess gives a member any bytes. It must not panic, must not change
// after an error, and must still follow the honest commit afterwards.
func FuzzProcess(f *testing.F) {
	r := newRoom(f, mls.P256AES128SHA256P256)
	r.fill(4)
	honest := must(r.member(0).Commit(CommitOptions{}, r.now))(f)
	private := r.member(0)
	f.Add(honest.Message())
	f.Add(must(private.Protect([]byte("hello"), []byte("aad")))(f))
	f.Add(must(private.Propose(&mls.Remove{Removed: 1}, r.now))(f))
	f.Add(must(r.follower.ExternalRemove(r.server, 0, 1))(f))
	_, join, err := JoinExternal(newConfig(f, r.suite), r.groupInfo(), r.follower.Tree().Clone(), named("new"), ExternalOptions{}, r.now)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(join)
	f.Add(r.info)
	var s Snapshot
	if err := r.member(3).Save(&s); err != nil {
		f.Fatal(err)
	}
	cfg := r.member(3).cfg
	f.Fuzz(func(t *testing.T, b []byte) {
		g := must(Restore(cfg, s.Bytes()))(t)
		before := g.EpochAuthenticator()
		p, err := g.Process(b, r.now)
		if !bytes.Equal(before, g.EpochAuthenticator()) {
			t.Fatal("processing changed the epoch")
		}
		if err == nil {
			if p.Commit != nil {
				p.Commit.Wipe()
			}
			return
		}
		if len(g.Pending()) != 0 {
			t.Fatal("a message that was refused is pending")
		}
		if _, err := g.Process(honest.Message(), r.now); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzGroup plays a room in which leaf 0 is hostile: it has all of a member's
// keys, and signs what the input says. Whatever it sends, the honest members
// agree whether to take it, and never part.
func FuzzGroup(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
	f.Add([]byte{4, 1, 0, 3, 0, 0, 0, 1})             // Remove of leaf 1
	f.Add([]byte{5, 1, 0, 3, 0, 0, 0, 2, 0, 1, 2})    // the same, private
	f.Add([]byte{4, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}) // an empty commit
	f.Add([]byte{1, 2, 1, 0, 3, 7, 0, 9, 3, 0, 6})    // proposals, a mutation, replays
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) > 2048 {
			return
		}
		r := newRoom(t, mls.P256AES128SHA256P256)
		r.fill(4)
		play := &play{room: r, hostile: r.members[0]}
		for n := 0; len(program) > 0 && n < 40; n++ {
			program = play.step(program)
		}
	})
}

// play is the state of FuzzGroup.
type play struct {
	*room
	hostile *Group
	sent    [][]byte
}

func (p *play) honest() []*Group { return p.members[1:] }

// step takes an action off the program.
func (p *play) step(program []byte) []byte {
	action, program := program[0], program[1:]
	take := func() byte {
		if len(program) == 0 {
			return 0
		}
		b := program[0]
		program = program[1:]
		return b
	}
	switch action % 8 {
	case 0: // an honest member commits
		honest := p.honest()
		g := honest[int(take())%len(honest)]
		if s, err := g.Commit(CommitOptions{}, p.now); err == nil {
			p.deliver(s.Message(), s, g)
		}
	case 1: // an honest member proposes
		honest := p.honest()
		g := honest[int(take())%len(honest)]
		if m, err := g.ProposeUpdate(nil, nil, p.now); err == nil {
			p.deliver(m, nil, g)
		}
	case 2, 3: // something that was sent before, mutated or not
		if len(p.sent) == 0 {
			break
		}
		m := bytes.Clone(p.sent[int(take())%len(p.sent)])
		if action%8 == 2 {
			m[(int(take())<<8|int(take()))%len(m)] ^= take()
		}
		p.deliver(m, nil, nil)
	case 4, 5: // the hostile member signs the rest
		var m []byte
		m, program = p.forge(program, action%8 == 5)
		if m != nil {
			p.deliver(m, nil, nil)
		}
	case 6: // the hostile member commits by the rules
		if s, err := p.hostile.Commit(CommitOptions{}, p.now); err == nil {
			p.deliver(s.Message(), s, p.hostile)
		}
	case 7: // the server proposes
		if m, err := p.follower.ExternalRemove(p.server, 0, mls.LeafIndex(take()%5)); err == nil {
			p.deliver(m, nil, nil)
		}
	}
	return program
}

// forge signs a proposal, a commit or data that the program spells out, as the
// hostile member.
func (p *play) forge(program []byte, private bool) (message, rest []byte) {
	e := p.hostile.epoch
	if e == nil || len(program) == 0 {
		return nil, nil
	}
	kind, program := program[0], program[1:]
	a := &mls.AuthenticatedContent{WireFormat: mls.WirePublicMessage, Content: mls.FramedContent{
		GroupID: e.public.Context.GroupID, Epoch: e.public.Context.Epoch, Sender: mls.MemberSender(e.own),
	}}
	if private {
		a.WireFormat = mls.WirePrivateMessage
	}
	r := mls.NewReader(program)
	switch kind % 3 {
	case 0:
		a.Content.ContentType, a.Content.ApplicationData = mls.ContentApplication, program
		if !private {
			return nil, nil
		}
	case 1:
		a.Content.ContentType, a.Content.Proposal = mls.ContentProposal, mls.ReadProposal(r)
	case 2:
		a.Content.ContentType, a.Content.Commit = mls.ContentCommit, new(mls.Commit)
		a.Content.Commit.UnmarshalMLS(r)
		a.Auth.ConfirmationTag = make([]byte, 32)
	}
	if r.Err() != nil {
		return nil, nil
	}
	if err := a.Sign(p.hostile.cfg.Signer, e.public.Context); err != nil {
		p.t.Fatal(err)
	}
	m, err := p.hostile.frame(a)
	if err != nil {
		return nil, nil
	}
	return m, program[r.Offset():]
}

// deliver gives a message to all honest members but its maker, and has all of
// them enter the epoch that it begins. own is the maker's commit.
func (p *play) deliver(message []byte, own *Staged, maker *Group) {
	p.t.Helper()
	p.sent = append(p.sent, message)
	_, _ = p.follower.Process(message, p.now)
	var accepted, refused int
	staged := map[*Group]*Staged{}
	for _, g := range p.members {
		if g == maker {
			continue
		}
		out, err := g.Process(message, p.now)
		if g == p.hostile {
			if err == nil && out.Commit != nil {
				staged[g] = out.Commit
			}
			continue
		}
		if err != nil {
			refused++
			continue
		}
		accepted++
		if out.Commit != nil {
			staged[g] = out.Commit
		}
	}
	// Its maker does not open a private message or its own commit.
	if accepted > 0 && refused > 1 {
		p.t.Fatalf("%d honest members accept what %d refuse", accepted, refused)
	}
	if own != nil {
		staged[maker] = own
	}
	if accepted == 0 && own == nil || len(staged) == 0 {
		return
	}
	var left []*Group
	for _, g := range p.members {
		s, ok := staged[g]
		if ok {
			if err := g.Merge(s); err != nil {
				p.t.Fatal(err)
			}
		}
		if g.Active() || g == p.hostile {
			left = append(left, g)
		}
	}
	p.members = left
	for _, g := range p.honest() {
		if !bytes.Equal(g.EpochAuthenticator(), p.honest()[0].EpochAuthenticator()) {
			p.t.Fatal("honest members parted")
		}
	}
	if len(p.honest()) < 2 {
		p.t.Skip("too few honest members are left to disagree")
	}
}
