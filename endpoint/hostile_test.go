package endpoint

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"conclave"
	"conclave/gate"
	"conclave/gate/gatetest"
	"conclave/mls"
	"conclave/mls/member"
	"conclave/pass"
	"conclave/pass/passtest"
	"conclave/signal"
)

// What a hostile server can try, and what comes of it: it gets no key, and the members notice.

// intruder is a member that the server makes up: it joins the group itself, with whatever credential and pass it likes.
type intruder struct {
	*house
	device *device
	leaf   member.Leaf
}

func (h *house) intruder(d *device, statement, passBytes []byte) *intruder {
	return &intruder{h, d, member.Leaf{
		Credential: mls.BasicCredential(statement),
		Capabilities: &mls.Capabilities{Versions: []mls.ProtocolVersion{mls.MLS10}, CipherSuites: []mls.CipherSuite{gate.Suite},
			Extensions:  gate.Extensions,
			Credentials: []mls.CredentialType{mls.CredentialBasic}},
		Extensions: mls.Extensions{{Type: pass.ExtensionPass, Data: passBytes}, {Type: pass.ExtensionLogProof, Data: h.devices.Proof(statement)}},
	}}
}

// join makes the intruder's external commit on the group as the house has it, and orders it. h.mu is held.
func (i *intruder) join() *member.Group {
	info := parseInfo(i.t, i.info)
	g, commit, err := member.JoinExternal(i.config(), info, i.follower.Tree().Clone(), i.leaf, member.ExternalOptions{Resync: true}, time.Now())
	if err != nil {
		i.t.Error(err)
		return nil
	}
	epoch := uint64(i.follower.Epoch())
	if _, err := i.follower.Process(commit, time.Now()); err != nil {
		i.t.Error(err)
		return nil
	}
	i.order(signal.Commit{Epoch: epoch, Message: commit})
	return g
}

func (i *intruder) config() member.Config {
	return member.Config{Suite: gate.Suite, Signer: i.device.signer, Verifier: open{}, Rand: randReader{}}
}

// wantNoCommonKey fails if the intruder's epoch is one that a client went into.
func wantNoCommonKey(t *testing.T, g *member.Group, clients ...*client) {
	t.Helper()
	if g == nil {
		return
	}
	key, err := g.Export(keyLabel, nil, keySize)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range clients {
		c.mu.Lock()
		for epoch, k := range c.keys {
			if string(k) == string(key) {
				t.Errorf("%s shares epoch %d with the intruder", c.device.name, epoch)
			}
		}
		c.mu.Unlock()
	}
}

// wantGone waits until a client has left because of a problem with one of codes, and has wiped its keys.
func wantGone(t *testing.T, c *client, codes ...string) {
	t.Helper()
	select {
	case err := <-c.done:
		var p conclave.Problem
		if !errors.As(err, &p) || !slices.Contains(codes, p.Code) {
			t.Errorf("%s left because of %v, want one of %v:%s", c.device.name, err, codes, c.story())
		}
	case <-time.After(time.Minute):
		t.Fatalf("%s noticed nothing:%s", c.device.name, c.story())
	}
	if _, ok := c.find(func(e Event) bool { return e.Alarm != nil && slices.Contains(codes, e.Alarm.Problem.Code) }); !ok {
		t.Errorf("%s raised no alarm:%s", c.device.name, c.story())
	}
	if !c.closed || len(c.keys) != 0 {
		t.Errorf("%s still holds keys", c.device.name)
	}
}

func TestACommitWithAForgedPassIsNotFollowed(t *testing.T) {
	stranger := passtest.New(t, "example.org", time.Now()) // the same name, other keys
	for name, c := range map[string]struct {
		credential func(h *house, d *device) (statement, pass []byte)
		code       string
	}{
		"a pass that another signed": {func(h *house, d *device) ([]byte, []byte) {
			return d.statement, stranger.Pass(d.signer.Public(), h.meeting, time.Now())
		}, "pass_signature"},
		"a pass that was changed": {func(h *house, d *device) ([]byte, []byte) {
			b := h.org.Pass(d.signer.Public(), h.meeting, time.Now())
			b[len(b)-1] ^= 1
			return d.statement, b
		}, "pass_signature"},
		"a pass of another meeting": {func(h *house, d *device) ([]byte, []byte) {
			other := h.meeting
			other.Meeting[0] ^= 1
			return d.statement, h.org.Pass(d.signer.Public(), other, time.Now())
		}, "pass_meeting"},
		"a pass of a lower level": {func(h *house, d *device) ([]byte, []byte) {
			other := h.meeting
			other.Level--
			return d.statement, h.org.Pass(d.signer.Public(), other, time.Now())
		}, "pass_level"},
		"a pass of another policy": {func(h *house, d *device) ([]byte, []byte) {
			other := h.meeting
			other.PolicyHash[5] ^= 1
			return d.statement, h.org.Pass(d.signer.Public(), other, time.Now())
		}, "pass_policy"},
		"a pass of another device": {func(h *house, d *device) ([]byte, []byte) {
			return d.statement, h.org.Pass(h.device(h.org, "other").signer.Public(), h.meeting, time.Now())
		}, "pass_device"},
		"a pass that has run out": {func(h *house, d *device) ([]byte, []byte) {
			return d.statement, h.org.Pass(d.signer.Public(), h.meeting, time.Now().Add(-time.Hour))
		}, "pass_expired"},
		"no pass": {func(h *house, d *device) ([]byte, []byte) { return d.statement, nil }, "pass_malformed"},
		"a statement under another root": {func(h *house, d *device) ([]byte, []byte) {
			return stranger.Statement(d.signer.Public(), "anna", "Anna"), h.org.Pass(d.signer.Public(), h.meeting, time.Now())
		}, "statement_signature"},
		"the statement of another device": {func(h *house, d *device) ([]byte, []byte) {
			return h.device(h.org, "other").statement, h.org.Pass(d.signer.Public(), h.meeting, time.Now())
		}, "statement_key"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				h.org = passtest.New(t, "example.org", time.Now()) // the bubble's time
				h.devices = gatetest.New(t, h.org)
				anna, jan := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan"))
				alike(t, anna, jan)
				d := h.device(h.org, "mole")
				var g *member.Group
				h.locked(func() { g = h.intruder(d, first(c.credential(h, d)), second(c.credential(h, d))).join() })
				for _, m := range []*client{anna, jan} {
					wantNoCommonKey(t, g, m)
					wantGone(t, m, c.code, forgedInBubble(c.code))
				}
			})
		})
	}
}

// forgedInBubble: the stranger organisation was made outside of the bubble, whose clock stands in the year 2000: what it
// signed may be refused for its time as well.
func forgedInBubble(code string) string {
	switch code {
	case "pass_signature":
		return "pass_early"
	case "statement_signature":
		return "statement_early"
	}
	return code
}

func first(a, _ []byte) []byte  { return a }
func second(_, b []byte) []byte { return b }

func TestALegWithoutALeafHasNothingAndIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna, jan := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan"))
		alike(t, anna, jan)
		h.locked(func() {
			h.lie.roster = func(r *signal.Roster) {
				r.Legs = append(r.Legs, signal.RosterLeg{Leg: conclave.LegID{9}, Leaf: 9, Role: conclave.RoleMember})
			}
			h.tellRoster()
		})
		for _, c := range []*client{anna, jan} {
			c.await("the alarm", isAlarm("alarm_leg_without_keys"))
			if names := c.names(); len(names) != 2 {
				t.Errorf("%s shows %v: who holds no keys is no member", c.device.name, names)
			}
		}
		anna.stop()
		jan.stop()
	})
}

func TestTwoLegsOnOneLeafAreNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna, jan := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan"))
		alike(t, anna, jan)
		at := slices.IndexFunc(anna.roster().Members, func(m Member) bool { return m.Name == "jan" })
		leaf := anna.roster().Members[at].Leaf
		time.Sleep(2 * lookEvery)
		if _, ok := anna.find(isAlarm("alarm_other_in_place")); ok {
			t.Error("a roster with each leaf once raised the alarm")
		}
		h.locked(func() {
			h.lie.roster = func(r *signal.Roster) {
				r.Legs = append(r.Legs, signal.RosterLeg{Leg: conclave.LegID{9}, Leaf: leaf, Role: conclave.RoleChair})
			}
			h.tellRoster()
		})
		for _, c := range []*client{anna, jan} {
			if e := c.await("the alarm", isAlarm("alarm_other_in_place")); e.Alarm.Problem.Args["name"] != "jan" {
				t.Errorf("%s is told of %v", c.device.name, e.Alarm.Problem.Args)
			}
			if names := c.names(); len(names) != 2 {
				t.Errorf("%s shows %v", c.device.name, names)
			}
		}
		anna.stop()
		jan.stop()
	})
}

func TestLegsThatChangePlacesAreNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna, jan := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan"))
		alike(t, anna, jan)
		h.locked(func() {
			h.lie.roster = func(r *signal.Roster) {
				if len(r.Legs) == 2 { // one of them goes at last
					r.Legs[0].Leaf, r.Legs[1].Leaf = r.Legs[1].Leaf, r.Legs[0].Leaf
				}
			}
			h.tellRoster()
		})
		for _, c := range []*client{anna, jan} {
			c.await("the alarm", isAlarm("alarm_other_in_place"))
		}
		anna.stop()
		jan.stop()
	})
}

func TestAMemberThatTheServerHidesIsShownAndNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.lie.roster = func(r *signal.Roster) {
			r.Legs = slices.DeleteFunc(r.Legs, func(l signal.RosterLeg) bool { return l.Leaf == 1 })
		}
		anna, mole := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "mole"))
		anna.await("the alarm", isAlarm("alarm_hidden_member"))
		if names := anna.names(); !slices.Contains(names, "mole") {
			t.Errorf("anna shows %v", names)
		}
		anna.stop()
		mole.stop()
	})
}

func TestAServerThatSendsRostersWithoutEndHidesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.lie.roster = func(r *signal.Roster) {
			r.Legs = slices.DeleteFunc(r.Legs, func(l signal.RosterLeg) bool { return l.Leaf == 1 })
		}
		anna, mole := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "mole"))
		h.keepTelling(2 * lookEvery)
		if !slices.ContainsFunc(alarms(anna), func(p conclave.Problem) bool { return p.Code == "alarm_hidden_member" }) {
			t.Errorf("anna noticed nothing:%s", anna.story())
		}
		anna.stop()
		mole.stop()
	})
}

// keepTelling sends the roster each second for so long.
func (h *house) keepTelling(d time.Duration) {
	for range d / time.Second {
		h.locked(h.tellRoster)
		time.Sleep(time.Second)
	}
}

func TestAnOldGroupInfoLeadsIntoNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna, jan := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan"))
		alike(t, anna, jan)
		var old *signal.Group
		h.locked(func() { old = h.group() })
		h.locked(func() { h.remove(h.legOf(jan.device)) })
		anna.await("jan's removal", func(e Event) bool { return e.Code != nil && e.Code.Why == "removed" })
		time.Sleep(time.Second)

		// Karin is handed the state in which jan, who was removed, still has keys.
		h.locked(func() {
			h.lie.admitted = func(a *signal.Admitted) {
				if a.Group != nil {
					a.Group = old
				}
			}
		})
		karin := h.device(h.org, "karin")
		var entering *signal.Enter
		h.locked(func() { h.enterHook = func(m *signal.Enter) bool { entering = m; return true } })
		c := h.client(karin)
		time.Sleep(time.Second)
		h.locked(func() {
			if entering == nil || entering.Epoch != old.Epoch {
				t.Fatalf("karin did not join the old state:%s", c.story())
			}
			// The server pretends that this is what the room does.
			h.tell(&signal.Commit{Epoch: entering.Epoch, Message: entering.Commit})
		})
		wantGone(t, anna, "alarm_commit_unfit")
		c.stop()
	})
}

func TestAnOldGroupInfoWhosePassesHaveRunOutIsNotJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna := h.in(h.device(h.org, "anna"))
		var old *signal.Group
		h.locked(func() { old = h.group() })
		time.Sleep(6 * time.Minute)
		h.locked(func() { h.lie.admitted = func(a *signal.Admitted) { a.Group = old } })
		wantGone(t, h.client(h.device(h.org, "karin")), "pass_expired")
		anna.stop()
	})
}

func TestOneWhoIsRemovedWithoutAWordGoesAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna, jan := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan"))
		alike(t, anna, jan)
		h.locked(func() { h.quiet = true; h.remove(h.legOf(jan.device)) })
		select {
		case err := <-jan.done:
			var p conclave.Problem
			if !errors.As(err, &p) || p.Code != "removed_other" {
				t.Errorf("jan left because of %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("jan goes on speaking under keys of before:%s", jan.story())
		}
		anna.stop()
	})
}

func TestAGroupUnderOtherRulesIsNotJoined(t *testing.T) {
	otherKey := passtest.LeafKey(t)
	for name, change := range map[string]func(h *house, e mls.Extensions) mls.Extensions{
		"another removal key": func(h *house, e mls.Extensions) mls.Extensions {
			return e.With(mls.ExternalSendersExtension([]mls.ExternalSender{{SignatureKey: passtest.Point(otherKey),
				Credential: mls.BasicCredential([]byte(pass.ExternalSenderIdentity))}}))
		},
		"a second external sender": func(h *house, e mls.Extensions) mls.Extensions {
			one := mls.ExternalSender{SignatureKey: h.removal.Public(), Credential: mls.BasicCredential([]byte(pass.ExternalSenderIdentity))}
			two := one
			two.SignatureKey = passtest.Point(otherKey)
			return e.With(mls.ExternalSendersExtension([]mls.ExternalSender{one, two}))
		},
		"another level": func(h *house, e mls.Extensions) mls.Extensions {
			other := h.meeting
			other.Level = 0
			return gate.ContextExtensions(other, h.removal.Public())
		},
		"no required capabilities": func(h *house, e mls.Extensions) mls.Extensions {
			return e.Without(mls.ExtensionRequiredCapabilities)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				d := h.device(h.org, "mole")
				i := h.intruder(d, d.statement, h.org.Pass(d.signer.Public(), h.meeting, time.Now()))
				id := append(mls.GroupID(h.meeting.Meeting[:]), make([]byte, 16)...)
				g, err := member.Create(i.config(), id, change(h, gate.ContextExtensions(h.meeting, h.removal.Public())), i.leaf, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				info, err := g.GroupInfo(false)
				if err != nil {
					t.Fatal(err)
				}
				h.lie.admitted = func(a *signal.Admitted) {
					a.Group = &signal.Group{Epoch: 0, GroupInfo: info, Tree: mls.Marshal(g.Tree())}
				}
				wantGone(t, h.client(h.device(h.org, "anna")), "alarm_group_unfit")
			})
		})
	}
}

func TestABadMemberPutsNobodyOutAndNobodyIn(t *testing.T) {
	for name, evil := range map[string]func(i *intruder, g *member.Group) (*member.Staged, error){
		"removes by its own word": func(i *intruder, g *member.Group) (*member.Staged, error) {
			return g.Commit(member.CommitOptions{Proposals: []mls.Proposal{&mls.Remove{Removed: 0}}}, time.Now())
		},
		"changes what the group is": func(i *intruder, g *member.Group) (*member.Staged, error) {
			other := i.meeting
			other.Level = 0
			return g.Commit(member.CommitOptions{Proposals: []mls.Proposal{&mls.GroupContextExtensions{
				Extensions: gate.ContextExtensions(other, i.removal.Public())}}}, time.Now())
		},
		"takes another's name": func(i *intruder, g *member.Group) (*member.Staged, error) {
			leaf := i.leaf
			leaf.Credential = mls.BasicCredential(i.house.device(i.org, "other").statement)
			return g.Commit(member.CommitOptions{Leaf: &leaf}, time.Now())
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				anna, jan := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan"))
				alike(t, anna, jan)
				d := h.device(h.org, "mole")
				i := h.intruder(d, d.statement, h.org.Pass(d.signer.Public(), h.meeting, time.Now()))
				var g *member.Group
				h.locked(func() { g = i.join() }) // it is a good member, as far as anybody can see
				time.Sleep(time.Second)
				if names := anna.names(); !slices.Contains(names, "mole") {
					t.Fatalf("anna sees %v:%s", names, anna.story())
				}
				before, _ := anna.epoch()
				staged, err := evil(i, g)
				if err != nil {
					t.Fatal(err)
				}
				h.locked(func() { h.order(signal.Commit{Epoch: uint64(g.Epoch()), Message: staged.Message()}) })
				for _, c := range []*client{anna, jan} {
					if epoch, _ := c.epoch(); epoch != before {
						t.Errorf("%s went from epoch %d to %d", c.device.name, before, epoch)
					}
					wantGone(t, c, "alarm_commit", "statement_key")
				}
			})
		})
	}
}

func TestOneWhoseAcknowledgementIsALieLeaves(t *testing.T) {
	for alarm, lie := range map[string]func(*signal.Entered){
		"alarm_group":       func(e *signal.Entered) { e.Epoch++ },
		"alarm_group_place": func(e *signal.Entered) { e.Leaf++ },
	} {
		t.Run(alarm, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				anna := h.in(h.device(h.org, "anna"))
				h.locked(func() { h.lie.entered = lie })
				wantGone(t, h.client(h.device(h.org, "jan")), alarm)
				anna.stop()
			})
		})
	}
}

func TestAPassTheServerGaveUnderAnotherRootIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		other := passtest.New(t, h.org.ID, time.Now())
		h.lie.admitted = func(a *signal.Admitted) { a.Grants = other.Grants }
		wantGone(t, h.client(h.device(h.org, "anna")), "grant_signature")
	})
}

func TestFramesThatNoMemberSealedForTheirSlotRaiseAnAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna, jan := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan"))
		alike(t, anna, jan)
		anna.Stranger(Microphone, -1)
		anna.await("the alarm", isAlarm("alarm_stranger"))
		anna.Stranger(Camera, 1)
		e := anna.await("the alarm", isAlarm("alarm_wrong_stream"))
		if e.Alarm.Problem.Args["name"] != "jan" || e.Alarm.Problem.Args["stream"] != "camera" {
			t.Errorf("the alarm names %v", e.Alarm.Problem.Args)
		}
		anna.stop()
		jan.stop()
	})
}

func TestAMemberWhosePassLapsesIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna, jan := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan"))
		alike(t, anna, jan)
		h.locked(func() { h.deaf = jan.device })
		time.Sleep(6 * time.Minute)
		e := anna.await("the alarm", isAlarm("alarm_pass_lapsed"))
		if e.Alarm.Problem.Args["name"] != "jan" {
			t.Errorf("the alarm names %v", e.Alarm.Problem.Args)
		}
		anna.stop()
		jan.stop()
	})
}

func TestAForgedRenewalIsNoticedAndChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna, jan := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan"))
		alike(t, anna, jan)
		h.locked(func() {
			b := h.org.Pass(jan.device.signer.Public(), h.meeting, time.Now().Add(time.Minute))
			b[len(b)-1] ^= 1
			h.tell(&signal.Passes{Passes: []signal.LeafPass{{Leaf: 1, Pass: b}}})
		})
		anna.await("the alarm", isAlarm("pass_signature"))
		if names := anna.names(); len(names) != 2 {
			t.Errorf("anna sees %v", names)
		}
		time.Sleep(10 * time.Minute) // true renewals go on
		if _, ok := anna.find(isAlarm("alarm_pass_lapsed")); ok {
			t.Error("the forged pass kept the true ones out")
		}
		anna.stop()
		jan.stop()
	})
}

func TestARemovalThatTheServerDoesNotOrderIsMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		anna, jan, karin := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan")), h.in(h.device(h.org, "karin"))
		alike(t, anna, jan, karin)
		hear(anna, jan, karin)
		h.locked(func() {
			h.lie.commits = true
			h.remove(h.legOf(karin.device))
		})
		for _, c := range []*client{anna, jan} {
			e := c.await("the alarm", isAlarm("alarm_removal_overdue"))
			if e.Alarm.Problem.Args["name"] != "karin" {
				t.Errorf("%s misses the removal of %v", c.device.name, e.Alarm.Problem.Args)
			}
		}
		for _, c := range []*client{anna, jan, karin} {
			c.stop()
		}
	})
}
