package server

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"conclave"
	"conclave/identity"
	"conclave/server/reply"
)

// OIDC is the organisation's own sign-in (OpenID Connect Core 1.0), as a way to an enrolment link: who signs in there gets the
// link that the administrator would else have sent. It lets nobody into a meeting by itself. The zero value: none.
type OIDC struct {
	Issuer       string // its URL, as in its discovery document
	ClientID     string
	ClientSecret string // empty for a public client: PKCE is used in any case
	// Claim names the claim whose value is the person's id here; empty: preferred_username. An email counts only where the
	// provider says that it is verified.
	Claim string
	// Domain is cut off the claim's value with the @ before it; a value of another domain is nobody's. Empty: the value is
	// taken as it is.
	Domain string
}

// Format implements fmt.Formatter: the client's secret never prints.
func (o OIDC) Format(f fmt.State, _ rune) { io.WriteString(f, "sign-in at "+o.Issuer) }

// LogValue implements slog.LogValuer.
func (o OIDC) LogValue() slog.Value { return slog.StringValue("sign-in at " + o.Issuer) }

const (
	signInLife   = 10 * time.Minute
	providerDue  = 10 * time.Second // for one answer of the provider
	signInCookie = "conclave_sign_in"
	signInPath   = "/v1/oidc/"
)

var (
	problemSignIn       = conclave.Problem{Code: "oidc_failed", Fix: "sign_in_again"}
	problemSignInPerson = conclave.Problem{Code: "oidc_person", Fix: "ask_administrator"}
)

// signIn asks the provider. It is discovered when it is first needed: the server starts without it.
type signIn struct {
	cfg      OIDC
	mu       sync.Mutex
	provider *oidc.Provider // guarded by mu
}

func (s *signIn) discovered(ctx context.Context) (*oidc.Provider, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.provider == nil {
		// The keys are fetched anew long after this request: its context must not end theirs. A provider that does not answer
		// must not hold up everybody who signs in, either.
		lasting := oidc.ClientContext(context.WithoutCancel(ctx), &http.Client{Timeout: providerDue})
		p, err := oidc.NewProvider(lasting, s.cfg.Issuer)
		if err != nil {
			return nil, fmt.Errorf("server: discover the sign-in: %w", err)
		}
		s.provider = p
	}
	return s.provider, nil
}

func (s *signIn) client(p *oidc.Provider, redirect string) *oauth2.Config {
	return &oauth2.Config{ClientID: s.cfg.ClientID, ClientSecret: s.cfg.ClientSecret, Endpoint: p.Endpoint(), RedirectURL: redirect,
		Scopes: []string{oidc.ScopeOpenID, "profile", "email"}}
}

// journey is what the browser keeps of a sign-in while it is at the provider.
type journey struct {
	State    string    `json:"s"`
	Nonce    string    `json:"n"`
	Verifier string    `json:"v"`
	To       string    `json:"t"` // path of a meeting on this server
	Until    time.Time `json:"u"`
}

// sealJourney and openJourney put a code of ours over it. It is nobody's secret: the browser that has it is at the start.
func (s *Server) sealJourney(j journey) (string, error) {
	b, err := json.Marshal(j)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(append(s.journeyCode(b), b...)), nil
}

func (s *Server) openJourney(text string) (journey, error) {
	var j journey
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) < sha256.Size || !hmac.Equal(b[:sha256.Size], s.journeyCode(b[sha256.Size:])) {
		return j, problemSignIn
	}
	if err := json.Unmarshal(b[sha256.Size:], &j); err != nil || s.now().After(j.Until) {
		return j, problemSignIn
	}
	return j, nil
}

func (s *Server) journeyCode(b []byte) []byte {
	h := hmac.New(sha256.New, s.nonces.key[:])
	h.Write([]byte("Conclave sign-in 1\x00"))
	h.Write(b)
	return h.Sum(nil)
}

func (s *Server) oidcRoutes(mux *http.ServeMux) {
	if s.cfg.OIDC.Issuer == "" {
		return
	}
	s.signIn = &signIn{cfg: s.cfg.OIDC}
	mux.HandleFunc("GET /v1/oidc/login", s.limited(s.serveSignIn))
	mux.HandleFunc("GET /v1/oidc/callback", s.limited(s.serveSignedIn))
}

// origin is our own, under a name that clients know.
func (s *Server) origin(r *http.Request) string {
	host := r.Host
	if !s.hosts[canonicalHost(host)] {
		host = s.cfg.Hosts[0]
	}
	if s.cfg.Secure {
		return "https://" + host
	}
	return "http://" + host
}

// serveSignIn sends the browser to the provider. to names the meeting that it comes back to.
func (s *Server) serveSignIn(w http.ResponseWriter, r *http.Request) {
	to := r.URL.Query().Get("to")
	pointer, _ := strings.CutPrefix(to, "/m/")
	if _, err := conclave.ParseMeetingID(pointer); err != nil || !strings.HasPrefix(to, "/m/") {
		s.fail(w, "sign in", reply.Malformed) // back to nowhere but a meeting
		return
	}
	provider, err := s.signIn.discovered(r.Context())
	if err != nil {
		s.cfg.Log.Error("sign-in not reached", "cause", err)
		s.backWith(w, r, to, problemSignIn)
		return
	}
	j := journey{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), To: to, Until: s.now().Add(signInLife).Truncate(time.Second)}
	sealed, err := s.sealJourney(j)
	if err != nil {
		s.fail(w, "sign in", err)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: signInCookie, Value: sealed, Path: signInPath, MaxAge: int(signInLife / time.Second), HttpOnly: true,
		Secure: s.cfg.Secure, SameSite: http.SameSiteLaxMode})
	w.Header().Set("Cache-Control", "no-store")
	url := s.signIn.client(provider, s.origin(r)+"/v1/oidc/callback").AuthCodeURL(j.State, oidc.Nonce(j.Nonce), oauth2.S256ChallengeOption(j.Verifier))
	http.Redirect(w, r, url, http.StatusSeeOther)
}

// serveSignedIn takes the browser back from the provider, and hands it a personal link.
func (s *Server) serveSignedIn(w http.ResponseWriter, r *http.Request) {
	cookie, err := r.Cookie(signInCookie)
	var j journey
	if err == nil {
		j, err = s.openJourney(cookie.Value)
	}
	if err != nil {
		s.backWith(w, r, "/", problemSignIn)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: signInCookie, Path: signInPath, MaxAge: -1, HttpOnly: true, Secure: s.cfg.Secure, SameSite: http.SameSiteLaxMode})
	person, err := s.signedIn(r, &j)
	var token identity.Token
	if err == nil {
		token, err = s.directory.IssueTokenSignedIn(r.Context(), person, s.cfg.Rand, s.now())
	}
	var p conclave.Problem
	switch {
	case err == nil:
		w.Header().Set("Cache-Control", "no-store")
		// The fragment reaches no server and no log; the page takes it out of the address at once.
		http.Redirect(w, r, j.To+"#e="+token.Text()+"&r="+s.cfg.Organisation.RootHash(), http.StatusSeeOther)
	case errors.As(err, &p):
		if p.Code == "person_unknown" || p.Code == "person_removed" {
			p = problemSignInPerson
		}
		s.backWith(w, r, j.To, p)
	default:
		s.cfg.Log.Warn("sign-in refused", "cause", err)
		s.backWith(w, r, j.To, problemSignIn)
	}
}

// backWith sends the browser back to a page of ours that shows the problem.
func (s *Server) backWith(w http.ResponseWriter, r *http.Request, to string, p conclave.Problem) {
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, to+"#p="+p.Code, http.StatusSeeOther)
}

// signedIn verifies what the provider says and returns whom it names.
func (s *Server) signedIn(r *http.Request, j *journey) (conclave.PersonID, error) {
	q := r.URL.Query()
	if !hmac.Equal([]byte(q.Get("state")), []byte(j.State)) || q.Get("code") == "" {
		return "", errors.New("server: sign-in: another state, or no code")
	}
	ctx, cancel := context.WithTimeout(r.Context(), providerDue)
	defer cancel()
	provider, err := s.signIn.discovered(ctx)
	if err != nil {
		return "", err
	}
	answer, err := s.signIn.client(provider, s.origin(r)+"/v1/oidc/callback").Exchange(ctx, q.Get("code"), oauth2.VerifierOption(j.Verifier))
	if err != nil {
		return "", errors.New("server: sign-in: the provider does not take its own code back")
	}
	raw, _ := answer.Extra("id_token").(string)
	token, err := provider.Verifier(&oidc.Config{ClientID: s.cfg.OIDC.ClientID, Now: s.now}).Verify(ctx, raw)
	if err != nil {
		return "", errors.New("server: sign-in: the provider's token does not verify")
	}
	if !hmac.Equal([]byte(token.Nonce), []byte(j.Nonce)) {
		return "", errors.New("server: sign-in: a token of another sign-in")
	}
	return s.cfg.OIDC.person(token)
}

// person reads the claim that names the person.
func (o *OIDC) person(token *oidc.IDToken) (conclave.PersonID, error) {
	claims := map[string]any{}
	if err := token.Claims(&claims); err != nil {
		return "", errors.New("server: sign-in: claims that cannot be read")
	}
	name := o.Claim
	if name == "" {
		name = "preferred_username"
	}
	value, _ := claims[name].(string)
	if verified, _ := claims["email_verified"].(bool); value == "" || name == "email" && !verified {
		return "", problemSignInPerson
	}
	value = strings.ToLower(value)
	if o.Domain != "" {
		id, domain, ok := strings.Cut(value, "@")
		if !ok || !strings.EqualFold(domain, o.Domain) {
			return "", problemSignInPerson
		}
		value = id
	}
	return conclave.PersonID(value), nil
}
