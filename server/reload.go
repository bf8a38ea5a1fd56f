package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"

	"conclave"
	"conclave/admission"
	"conclave/audit"
	"conclave/line"
	"conclave/network"
	"conclave/server/reply"
)

// Ground is what rulings rest on beside the directory, and can change while meetings run. It is immutable.
type Ground struct {
	Policy   *admission.Policy
	Networks line.Networks   // approved networks, those of a list among them; may be empty
	Places   *network.Ground // never nil
}

// policy returns the policy that rules now. Who rules twice on one thing takes it once.
func (s *Server) policy() *admission.Policy { return s.ground.Load().Policy }

func (s *Server) networks() line.Networks { return s.ground.Load().Networks }

var (
	errLevels = errors.New("the levels are others: they change with a restart alone")
	errReload = conclave.Problem{Code: "reload_absent", Fix: "restart_server"}
)

// Reload reads policy, networks, databases and calendar anew. With a mistake anywhere nothing changes, and the error names
// file and line. Otherwise all of it is in force at once, and every leg is ruled anew: what it returns says whether the
// policy is another one.
func (s *Server) Reload(ctx context.Context) (changed bool, err error) {
	if s.cfg.Reload == nil {
		return false, errReload
	}
	s.reloading.Lock()
	defer s.reloading.Unlock()
	next, err := s.cfg.Reload()
	if err != nil {
		return false, err
	}
	before := s.ground.Load()
	if !sameLevels(before.Policy.Levels(), next.Policy.Levels()) {
		return false, errLevels
	}
	if next.Places == nil {
		next.Places = new(network.Ground)
	}
	hash := next.Policy.Hash()
	changed = hash != before.Policy.Hash()
	if changed {
		if _, err := s.audit.Record(ctx, audit.Record{Kind: audit.KindPolicyChanged, Time: s.now(), Policy: hash[:]}); err != nil {
			return false, err
		}
	}
	if next.digest() != before.digest() {
		if err := s.recordGround(ctx, &next); err != nil {
			return false, err
		}
	}
	s.ground.Store(&next)
	s.ruleAll("policy or networks were read anew")
	return changed, nil
}

// digest names networks, places and risks: rulings under one policy differ where it does.
func (g *Ground) digest() [sha256.Size]byte {
	h := sha256.New()
	for _, n := range g.Networks {
		fmt.Fprintf(h, "%q %s\n", n.Name, n.Prefix)
	}
	places := g.Places.Digest()
	h.Write(places[:])
	return [sha256.Size]byte(h.Sum(nil))
}

// recordGround records what rulings rest on from now on, beside the policy.
func (s *Server) recordGround(ctx context.Context, g *Ground) error {
	digest := g.digest()
	_, err := s.audit.Record(ctx, audit.Record{Kind: audit.KindGround, Time: s.now(), Commitment: digest[:]})
	return err
}

func sameLevels(a, b admission.Levels) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Name != b[i].Name {
			return false
		}
	}
	return true
}

// serveReload is POST /policy/reload on the administrator's socket.
func (s *Server) serveReload(w http.ResponseWriter, r *http.Request) {
	changed, err := s.Reload(r.Context())
	var p conclave.Problem
	if err != nil && !errors.As(err, &p) {
		text := err.Error()
		err = conclave.Problem{Code: "policy_mistake", Fix: "mend_file", Args: map[string]string{"where": text[:min(len(text), 256)]}}
	}
	if err != nil {
		s.fail(w, "reload", err)
		return
	}
	hash := s.policy().Hash()
	reply.JSON(w, http.StatusOK, struct {
		Changed bool   `json:"changed"`
		Hash    []byte `json:"hash"`
	}{changed, hash[:]})
}
