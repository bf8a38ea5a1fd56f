package server

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"net/http"
	"time"

	"conclave"
	"conclave/server/reply"
)

// publicRoutes are what everybody can reach. None of them knows a meeting: whether one exists is told over signalling
// alone, after a ruling.
func (s *Server) publicRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/signal", s.serveSignal)
	mux.HandleFunc("GET /v1/organisation", s.serveOrganisation)
	mux.HandleFunc("GET /v1/gateway", s.serveGateway)
	mux.HandleFunc("POST /v1/gateway/enrol", s.serveGatewayEnrol)
	mux.HandleFunc("POST /v1/nonce", s.serveNonce)
	mux.HandleFunc("GET "+devicesURL+"{file...}", s.limited(s.serveDeviceLog))
	s.enrolRoutes(mux)
	s.oidcRoutes(mux)
	mux.HandleFunc("GET /v1/health", func(w http.ResponseWriter, r *http.Request) { reply.JSON(w, http.StatusOK, struct{}{}) })
	mux.HandleFunc("/v1/", s.notFound)
	if s.cfg.Client != nil {
		mux.Handle("/", newClientFiles(s.cfg.Client))
	}
	// Pages of other origins get nothing done here, whatever a browser would let them send.
	return s.secured(http.NewCrossOriginProtection().Handler(mux))
}

// secured sets what a browser shall know of every answer.
func (s *Server) secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Embedder-Policy", "require-corp")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(self), microphone=(self), display-capture=(self), geolocation=(), usb=(), serial=()")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		if s.cfg.Secure {
			h.Set("Strict-Transport-Security", "max-age=63072000; includeSubDomains")
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodPost {
			reply.JSON(w, http.StatusMethodNotAllowed, reply.Malformed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// contentPolicy lets the page load its own files and nothing else; 'wasm-unsafe-eval' is for the endpoint core, which is
// WebAssembly. The page needs no inline script or style.
const contentPolicy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; " +
	"img-src 'self' data: blob:; font-src 'self'; media-src 'self' blob: mediastream:; connect-src 'self'; manifest-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func (s *Server) fail(w http.ResponseWriter, what string, err error) {
	reply.Fail(w, s.cfg.Log, what, err)
}

func (s *Server) notFound(w http.ResponseWriter, _ *http.Request) {
	reply.JSON(w, http.StatusNotFound, reply.Malformed)
}

// levelWords is a level's name, its words by language, and how it is marked.
type levelWords struct {
	Name   string            `json:"name"`
	Words  map[string]string `json:"words"`
	Banner bannerWords       `json:"banner"`
}

// bannerWords is a banner: white text on a colour, "#rrggbb".
type bannerWords struct {
	Colour string            `json:"colour"`
	Words  map[string]string `json:"words,omitempty"`
}

// organisation is what everybody may know of it, and a client pins.
type organisation struct {
	ID       conclave.OrganisationID `json:"id"`
	Name     string                  `json:"name"`
	Root     []byte                  `json:"root"`
	RootHash string                  `json:"root_hash"`
	SignIn   bool                    `json:"sign_in,omitempty"` // whoever has no link may sign in with the organisation
}

func (s *Server) organisation() organisation {
	o := s.cfg.Organisation
	return organisation{o.ID, o.Name, o.Root, o.RootHash(), s.cfg.OIDC.Issuer != ""}
}

// serveOrganisation tells everybody which levels there are, too, the lowest first: whoever tests a line before a journey
// chooses one. It tells of no meeting.
func (s *Server) serveOrganisation(w http.ResponseWriter, _ *http.Request) {
	answer := struct {
		organisation
		Levels []levelWords `json:"levels"`
	}{organisation: s.organisation()}
	levels := s.policy().Levels()
	for i, l := range levels {
		b := levels.Banner(conclave.Level(i))
		answer.Levels = append(answer.Levels, levelWords{l.Name, l.Words, bannerWords{string(b.Colour), b.Words}})
	}
	reply.JSON(w, http.StatusOK, answer)
}

// enrolled answers an enrolment or a renewal.
type enrolled struct {
	Statement    []byte       `json:"statement"`
	Organisation organisation `json:"organisation"`
	Root         []byte       `json:"root"`
	Grants       [][]byte     `json:"grants"`
}

func (s *Server) enrolled(statement []byte) enrolled {
	return enrolled{statement, s.organisation(), s.cfg.Organisation.Root, s.cfg.Organisation.Grants}
}

// nonces are handed out for renewals without keeping them: time, chance, and a code over both. One may be used again
// within its life, by who can sign with the device's key: that gains nothing.
type nonces struct{ key [32]byte }

const (
	nonceSize = 8 + 8 + 16
	nonceLife = 2 * time.Minute
)

func (n *nonces) make(rand io.Reader, now time.Time) ([]byte, error) {
	nonce := binary.BigEndian.AppendUint64(nil, uint64(now.Unix()))
	nonce = append(nonce, make([]byte, 8)...)
	if _, err := io.ReadFull(rand, nonce[8:]); err != nil {
		return nil, err
	}
	return append(nonce, n.code(nonce)...), nil
}

func (n *nonces) code(head []byte) []byte {
	h := hmac.New(sha256.New, n.key[:])
	h.Write(head)
	return h.Sum(nil)[:16]
}

func (n *nonces) good(nonce []byte, now time.Time) bool { return n.within(nonce, nonceLife, now) }

// within is good for another life.
func (n *nonces) within(nonce []byte, life time.Duration, now time.Time) bool {
	if len(nonce) != nonceSize || !hmac.Equal(nonce[16:], n.code(nonce[:16])) {
		return false
	}
	age := now.Sub(time.Unix(int64(binary.BigEndian.Uint64(nonce)), 0))
	return age >= -time.Second && age < life
}

func (s *Server) serveNonce(w http.ResponseWriter, r *http.Request) {
	if !s.limits.request(s.clientAddress(r), s.now()) {
		reply.JSON(w, http.StatusTooManyRequests, problemTooMany)
		return
	}
	nonce, err := s.nonces.make(s.cfg.Rand, s.now())
	if err != nil {
		s.fail(w, "nonce", err)
		return
	}
	reply.JSON(w, http.StatusOK, struct {
		Nonce []byte `json:"nonce"`
	}{nonce})
}
