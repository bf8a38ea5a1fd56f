package server_test

import (
	"runtime"
	"testing"

	"conclave"
	"conclave/admission"
	"conclave/network"
	"conclave/server"
	"conclave/server/servertest"
)

// A ruling with all that belongs to it: signature of the statement, directory, meeting, facts, policy, and a durable record. Aim: 500
// a second on one core.
func BenchmarkRulingWithItsRecord(b *testing.B) {
	list, err := network.ParseList([]byte("193.40.0.0/16 isp\n10.0.0.0/8 approved house"))
	if err != nil {
		b.Fatal(err)
	}
	w := servertest.StartWith(b, servertest.Options{Reload: func() (server.Ground, error) {
		return server.Ground{Policy: admission.Default(), Places: &network.Ground{Listed: list}}, nil
	}})
	if _, err := w.Server.Reload(b.Context()); err != nil {
		b.Fatal(err)
	}
	d := w.Enrol("anna")
	m := w.OpenMeeting("anna")
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	b.ReportAllocs()
	before := cpuTime(b)
	b.SetParallelism(16) // as at the full hour; each waits for its record to be on the disk
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if r, err := w.Server.RuleOnce(b.Context(), d.Statement, m); err != nil || r.Outcome != conclave.Admit {
				b.Error(r, err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rulings/s")
	// What the rest of the machine takes does not count in this one: 500 a second on one core are 2000 µs each.
	b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "µs-of-a-core/op")
}
