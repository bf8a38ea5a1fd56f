package endpoint

import (
	"testing"
	"testing/synctest"
	"time"

	"conclave/gate/gatetest"
	"conclave/mls"
	"conclave/mls/member"
	"conclave/pass"
	"conclave/pass/passtest"
	"conclave/signal"
)

// A statement under the organisation's own signature opens nothing if it does not stand in the list that all are shown.
func TestALeafThatIsNotShownToStandInTheDeviceLogIsNotFollowed(t *testing.T) {
	for name, c := range map[string]struct {
		proof func(h *house, d *device, good []byte) []byte // nil: none
		code  string
	}{
		"no proof": {func(*house, *device, []byte) []byte { return nil }, "log_proof_missing"},
		"rubbish":  {func(*house, *device, []byte) []byte { return []byte("c2sp.org/tlog-proof@v1\nindex x\n\n") }, "log_proof_malformed"},
		"another's place": {func(h *house, _ *device, _ []byte) []byte {
			return h.devices.Proof(h.device(h.org, "other").statement)
		}, "log_proof_other"},
		"a list that another signed": {func(h *house, d *device, _ []byte) []byte {
			org := *h.org
			org.Log = passtest.New(t, "example.org", time.Now()).Log
			return gatetest.New(t, &org).Proof(d.statement)
		}, "log_proof_signature"},
		"another organisation's list": {func(h *house, d *device, _ []byte) []byte {
			org := *h.org
			org.ID = "example.net"
			return gatetest.New(t, &org).Proof(d.statement)
		}, "log_proof_other"},
		"a signature over other words": {func(_ *house, _ *device, good []byte) []byte {
			good[len(good)-8] ^= 1
			return good
		}, "log_proof_signature"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				anna, jan := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan"))
				alike(t, anna, jan)
				d := h.device(h.org, "mole")
				var g *member.Group
				h.locked(func() {
					i := h.intruder(d, d.statement, h.org.Pass(d.signer.Public(), h.meeting, time.Now()))
					proof := c.proof(h, d, h.devices.Proof(d.statement))
					i.leaf.Extensions = mls.Extensions(i.leaf.Extensions).Without(pass.ExtensionLogProof)
					if proof != nil {
						i.leaf.Extensions = append(i.leaf.Extensions, mls.Extension{Type: pass.ExtensionLogProof, Data: proof})
					}
					g = i.join()
				})
				for _, m := range []*client{anna, jan} {
					wantNoCommonKey(t, g, m)
					wantGone(t, m, c.code)
				}
			})
		})
	}
}

// A server that keeps a second list, with a device in it that nobody else shall find, is found out by whoever is shown both.
func TestTwoDifferentDeviceLogsAreFoundOut(t *testing.T) {
	for name, c := range map[string]struct {
		second      func(h *house) *gatetest.DeviceLog // that the mole's proof comes from
		consistency func(*pipe, *signal.Consistency)
		code        string
	}{
		"of one size": {func(h *house) *gatetest.DeviceLog {
			l := gatetest.New(t, h.org)
			l.Fill("in the place of anna")
			return l
		}, nil, "alarm_device_log"},
		"of another size": {func(h *house) *gatetest.DeviceLog {
			l := gatetest.New(t, h.org)
			l.Fill("one", "two", "three", "four")
			return l
		}, func(p *pipe, m *signal.Consistency) {
			p.say(&signal.ConsistencyProof{From: m.From, To: m.To, Path: [][]byte{make([]byte, 32), make([]byte, 32)}})
		}, "alarm_device_log"},
		"of another size, without a word": {func(h *house) *gatetest.DeviceLog {
			l := gatetest.New(t, h.org)
			l.Fill("one", "two", "three", "four")
			return l
		}, func(*pipe, *signal.Consistency) {}, "alarm_device_log_silent"},
		"of another size, and with nonsense": {func(h *house) *gatetest.DeviceLog {
			l := gatetest.New(t, h.org)
			l.Fill("one", "two", "three", "four")
			return l
		}, func(p *pipe, m *signal.Consistency) {
			p.say(&signal.ConsistencyProof{From: m.From, To: m.To, Path: [][]byte{{1}}})
		}, "alarm_device_log"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				anna, jan := h.in(h.device(h.org, "anna")), h.in(h.device(h.org, "jan"))
				d := h.device(h.org, "mole")
				h.locked(func() {
					h.lie.consistency = c.consistency
					i := h.intruder(d, d.statement, h.org.Pass(d.signer.Public(), h.meeting, time.Now()))
					i.leaf.Extensions = append(mls.Extensions(i.leaf.Extensions).Without(pass.ExtensionLogProof),
						mls.Extension{Type: pass.ExtensionLogProof, Data: c.second(h).Proof(d.statement)})
					i.join()
				})
				time.Sleep(time.Minute)
				for _, m := range []*client{anna, jan} {
					if _, ok := m.find(func(e Event) bool { return e.Alarm != nil && e.Alarm.Problem.Code == c.code }); !ok {
						t.Errorf("%s raised no alarm:%s", m.device.name, m.story())
					}
					m.stop()
				}
			})
		})
	}
}

// The list grows with every enrolment; that is no alarm.
func TestADeviceLogThatGrowsIsNoAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		var all []*client
		for _, name := range []string{"anna", "jan", "eva", "tom"} {
			all = append(all, h.in(h.device(h.org, name)))
			h.locked(func() { h.devices.Fill(name+"'s colleague", name+"'s neighbour") })
		}
		time.Sleep(time.Minute)
		alike(t, all...)
		var before, after int
		h.locked(func() { before = h.links })
		all[3].stop() // an epoch in which nothing new is shown
		all = all[:3]
		time.Sleep(2 * time.Minute)
		h.locked(func() { after = h.links })
		if before == 0 || after != before {
			t.Errorf("%d links were asked for, and %d more once all were known", before, after-before)
		}
		for _, m := range all {
			if _, ok := m.find(func(e Event) bool {
				return e.Alarm != nil && e.Alarm.Problem.Code != "alarm_not_heard" && e.Alarm.Problem.Code != "alarm_nobody_heard"
			}); ok {
				t.Errorf("%s raised an alarm:%s", m.device.name, m.story())
			}
			m.do(func(s *session) {
				if v := s.trust.log; len(v.fresh) != 0 || v.split {
					t.Errorf("%s has %d states that are not linked", m.device.name, len(v.fresh))
				}
			})
			m.stop()
		}
	})
}
