//go:build !linux

package server

import "time"

// sleepUntil returns after end, as exactly as the system's timers are.
func sleepUntil(end time.Time) { time.Sleep(time.Until(end)) }
