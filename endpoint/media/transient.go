//go:build !js

package media

import (
	"errors"
	"syscall"
)

// isTransient reports whether a read error is some earlier packet's ICMP, and not the socket's end.
func isTransient(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
