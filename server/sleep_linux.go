package server

import (
	"syscall"
	"time"
)

// sleepUntil returns within some 60 µs after end, which is at most some milliseconds away: it holds a thread of the system.
func sleepUntil(end time.Time) {
	for {
		left := time.Until(end)
		if left <= 0 {
			return
		}
		pause := syscall.NsecToTimespec(int64(left))
		_ = syscall.Nanosleep(&pause, nil) // a signal ends it early: then it goes on
	}
}
