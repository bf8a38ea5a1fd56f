package gateway

import (
	"conclave"
	"conclave/pass"
)

// Ports are the media ports of the legs whose person is known, by the person.
func (g *Gateway) Ports() map[conclave.PersonID]uint16 {
	g.mu.Lock()
	defer g.mu.Unlock()
	ports := map[conclave.PersonID]uint16{}
	for _, l := range g.legs {
		l.mu.Lock()
		if s, err := pass.ParseStatement(l.statement); err == nil {
			ports[s.Person] = l.media.LocalPort()
		}
		l.mu.Unlock()
	}
	return ports
}
