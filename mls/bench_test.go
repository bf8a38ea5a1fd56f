package mls

import (
	"fmt"
	"testing"
)

// benchmarkRooms are groups whose members all joined by external commit, of the default suite.
var benchmarkRooms = map[int]*room{}

func benchmarkRoom(b *testing.B, size int) *room {
	if r := benchmarkRooms[size]; r != nil {
		r.t, r.world.t = b, b
		return r
	}
	r := newRoom(b, MLKEM768P256, "0")
	for i := 1; i < size; i++ {
		r.join(fmt.Sprint(i))
	}
	benchmarkRooms[size] = r
	return r
}

func atSizes(b *testing.B, f func(b *testing.B, r *room)) {
	for _, size := range []int{100, 500} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			r := benchmarkRoom(b, size)
			b.ReportAllocs()
			b.ResetTimer()
			f(b, r)
		})
	}
}

// none verifies nothing, to tell the cost of signatures from the rest.
func none([]SignatureCheck) error { return nil }

func benchmarkProcess(b *testing.B, message func(r *room) []byte) {
	for name, verify := range map[string]BatchVerifier{"verified": VerifyEach, "unverified": none} {
		b.Run(name, func(b *testing.B) {
			atSizes(b, func(b *testing.B, r *room) {
				m := message(r)
				f := r.Clone()
				f.rules = NewRules(Config{Verifier: r.guard, Signatures: verify})
				b.ReportMetric(float64(len(m)), "B")
				b.ResetTimer()
				for b.Loop() {
					r.guard.asked = nil
					if _, err := f.Clone().Process(m, testNow); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

func BenchmarkProcessUpdate(b *testing.B) {
	benchmarkProcess(b, func(r *room) []byte { return r.commit(draft{at: 0}) })
}

func BenchmarkProcessRemove(b *testing.B) {
	benchmarkProcess(b, func(r *room) []byte { return r.commit(draft{at: 0, list: byValue(&Remove{7})}) })
}

func BenchmarkProcessExternalJoin(b *testing.B) {
	benchmarkProcess(b, func(r *room) []byte { return r.commit(draft{by: r.client("new"), external: true}) })
}

func BenchmarkCheckJoin(b *testing.B) {
	for name, verify := range map[string]BatchVerifier{"verified": VerifyEach, "unverified": none} {
		b.Run(name, func(b *testing.B) {
			atSizes(b, func(b *testing.B, r *room) {
				rules := NewRules(Config{Verifier: r.guard, Signatures: verify})
				encoded := Marshal(r.Tree())
				info := r.currentInfo(0)
				b.ReportMetric(float64(len(encoded)), "B")
				b.ResetTimer()
				for b.Loop() {
					r.guard.asked = nil
					tree, err := ParseRatchetTree(r.suite, encoded)
					if err != nil {
						b.Fatal(err)
					}
					if err := rules.CheckJoin(info, tree, testNow); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

func BenchmarkSnapshot(b *testing.B) {
	atSizes(b, func(b *testing.B, r *room) {
		for b.Loop() {
			r.Snapshot()
		}
	})
}
