package headless

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"conclave"
	"conclave/endpoint"
	"conclave/endpoint/media"
	"conclave/server/servertest"
)

// BenchmarkFirstSound joins a room in which all others are talking, over a real server on this machine, and takes the
// time from asking to be let in to the first opened frame of sound: ruling, pass, group, media path, keys.
func BenchmarkFirstSound(b *testing.B) {
	for _, legs := range []int{2, 20} {
		b.Run(fmt.Sprintf("legs=%d", legs), func(b *testing.B) {
			certificate, err := media.NewCertificate()
			if err != nil {
				b.Fatal(err)
			}
			shared := func(c *Config) { c.Certificate = &certificate }
			w := servertest.Start(b)
			w.AddPerson("late", "Late")
			people := []conclave.PersonID{"late"}
			for i := range legs - 1 {
				id := conclave.PersonID(fmt.Sprintf("person.%d", i))
				w.AddPerson(id, "")
				people = append(people, id)
			}
			meeting := w.OpenMeeting(people...)
			for _, p := range people[1:] {
				come(b, w, enrolled(b, w, p, meeting), meeting, shared).inState(endpoint.StateIn)
			}
			d := enrolled(b, w, "late", meeting)
			var total time.Duration
			for b.Loop() {
				var once sync.Once
				heard := make(chan time.Duration, 1)
				var asked time.Time
				g := come(b, w, d, meeting, shared, func(c *Config) {
					emit := c.Endpoint.Emit
					c.Endpoint.Emit = func(e endpoint.Event) {
						if e.State != nil && e.State.State == endpoint.StateChecked {
							asked = time.Now()
						}
						if e.Heard != nil {
							once.Do(func() { heard <- time.Since(asked) })
						}
						emit(e)
					}
				})
				select {
				case took := <-heard:
					total += took
				case <-time.After(10 * time.Second):
					b.Fatal("no sound")
				}
				g.Leave()
				<-g.done
				g.done <- nil
			}
			b.ReportMetric(float64(total.Microseconds())/1000/float64(b.N), "ms/first-sound")
		})
	}
}
