package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"conclave/identity"
	"conclave/server"
	"conclave/server/servertest"
)

// provider is a small OpenID provider: discovery, one person who signs in at once, tokens by ES256, PKCE.
type provider struct {
	*httptest.Server
	t   *testing.T
	key *ecdsa.PrivateKey

	mu     sync.Mutex
	claims map[string]any           // of whoever signs in
	codes  map[string]url.Values    // guarded by mu: what each code was asked with
	change func(map[string]any)     // of a token's claims, to make it wrong
	sign   func([]byte) []byte      // of a token, to forge it
	seen   map[string]*http.Request // guarded by mu: the last request of each path
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func newProvider(t *testing.T) *provider {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{t: t, key: key, codes: map[string]url.Values{}, seen: map[string]*http.Request{}, claims: map[string]any{"preferred_username": "anna"}}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	answer := func(v any) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(v)
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		answer(map[string]any{"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"ES256"}})
	case "/keys":
		point, _ := p.key.PublicKey.Bytes()
		answer(map[string]any{"keys": []any{map[string]any{"kty": "EC", "crv": "P-256", "kid": "1", "alg": "ES256", "use": "sig", "x": b64(point[1:33]), "y": b64(point[33:])}}})
	case "/authorize":
		q := r.URL.Query()
		code := rand.Text()
		p.codes[code] = q
		http.Redirect(w, r, q.Get("redirect_uri")+"?code="+code+"&state="+url.QueryEscape(q.Get("state")), http.StatusFound)
	case "/token":
		r.ParseForm()
		asked, ok := p.codes[r.Form.Get("code")]
		delete(p.codes, r.Form.Get("code"))
		sum := sha256.Sum256([]byte(r.Form.Get("code_verifier")))
		if !ok || asked.Get("code_challenge") != b64(sum[:]) || asked.Get("code_challenge_method") != "S256" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		answer(map[string]any{"access_token": "x", "token_type": "Bearer", "id_token": p.token(asked)})
	}
}

func (p *provider) token(asked url.Values) string {
	claims := map[string]any{"iss": p.URL, "aud": asked.Get("client_id"), "sub": "1", "nonce": asked.Get("nonce"),
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix()}
	for k, v := range p.claims {
		claims[k] = v
	}
	if p.change != nil {
		p.change(claims)
	}
	body, err := json.Marshal(claims)
	if err != nil {
		p.t.Error(err)
	}
	text := b64([]byte(`{"alg":"ES256","kid":"1"}`)) + "." + b64(body)
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, p.key, sum[:])
	if err != nil {
		p.t.Error(err)
	}
	sig := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	if p.sign != nil {
		sig = p.sign(sig)
	}
	return text + "." + b64(sig)
}

// signIn goes the way of a browser, and returns where it ends: the last Location.
func signIn(t *testing.T, w *servertest.World, to string, between func(client *http.Client, callback *url.URL)) string {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	at := w.URL + "/v1/oidc/login?to=" + url.QueryEscape(to)
	for range 6 {
		resp, err := client.Get(at)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		location := resp.Header.Get("Location")
		if location == "" {
			return resp.Status
		}
		if strings.HasPrefix(location, "/") {
			return location
		}
		at = location
		if u, err := url.Parse(at); err == nil && u.Path == "/v1/oidc/callback" && between != nil {
			between(client, u)
			at = u.String()
		}
	}
	t.Fatal("too many redirections")
	return ""
}

func TestWhoSignsInWithTheOrganisationGetsAPersonalLink(t *testing.T) {
	p := newProvider(t)
	w := byName(servertest.StartWith(t, servertest.Options{OIDC: server.OIDC{Issuer: p.URL, ClientID: "conclave"}}))
	w.AddPerson("anna", "Anna Weber")
	meeting := w.OpenMeeting("anna")
	to := "/m/" + meeting.Text()
	at := signIn(t, w, to, nil)
	u, err := url.Parse(at)
	if err != nil || u.Path != to {
		t.Fatalf("ends at %s", at)
	}
	f, err := url.ParseQuery(u.Fragment)
	if err != nil || f.Get("r") != w.Organisation.RootHash() {
		t.Fatalf("fragment %s", u.Fragment)
	}
	token, err := identity.ParseToken(f.Get("e"))
	if err != nil {
		t.Fatal(err)
	}
	if _, person, err := w.Server.Directory().Link(t.Context(), token, time.Now()); err != nil || person.ID != "anna" {
		t.Errorf("the link is for %v, %v", person.Name, err)
	}
	if code, out := adminGet(t, w, "/organisation"); code != http.StatusOK || !strings.Contains(out, `"sign_in":true`) {
		t.Errorf("%d %s", code, out)
	}
}

func TestASignInThatIsNotRightGivesNoLink(t *testing.T) {
	for name, c := range map[string]struct {
		oidc    server.OIDC
		claims  map[string]any
		change  func(map[string]any)
		sign    func([]byte) []byte
		between func(*http.Client, *url.URL)
		code    string
	}{
		"somebody unknown":       {claims: map[string]any{"preferred_username": "eve"}, code: "oidc_person"},
		"an id that is none":     {claims: map[string]any{"preferred_username": "../anna"}, code: "oidc_person"},
		"no such claim":          {claims: map[string]any{"name": "anna"}, code: "oidc_person"},
		"an unverified email":    {oidc: server.OIDC{Claim: "email", Domain: "ministry.example"}, claims: map[string]any{"email": "anna@ministry.example"}, code: "oidc_person"},
		"another domain":         {oidc: server.OIDC{Claim: "email", Domain: "ministry.example"}, claims: map[string]any{"email": "anna@evil.example", "email_verified": true}, code: "oidc_person"},
		"a verified email":       {oidc: server.OIDC{Claim: "email", Domain: "ministry.example"}, claims: map[string]any{"email": "Anna@Ministry.example", "email_verified": true}},
		"another's token":        {change: func(c map[string]any) { c["aud"] = "another" }, code: "oidc_failed"},
		"another provider's":     {change: func(c map[string]any) { c["iss"] = "https://evil.example" }, code: "oidc_failed"},
		"one that has run out":   {change: func(c map[string]any) { c["exp"] = time.Now().Add(-time.Hour).Unix() }, code: "oidc_failed"},
		"of another sign-in":     {change: func(c map[string]any) { c["nonce"] = "x" }, code: "oidc_failed"},
		"a forged signature":     {sign: func(b []byte) []byte { b[3] ^= 1; return b }, code: "oidc_failed"},
		"another state":          {between: func(_ *http.Client, u *url.URL) { q := u.Query(); q.Set("state", "x"); u.RawQuery = q.Encode() }, code: "oidc_failed"},
		"a code made up":         {between: func(_ *http.Client, u *url.URL) { q := u.Query(); q.Set("code", "x"); u.RawQuery = q.Encode() }, code: "oidc_failed"},
		"a browser that did not": {between: func(c *http.Client, _ *url.URL) { c.Jar = nil }, code: "oidc_failed"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			p.change, p.sign = c.change, c.sign
			if c.claims != nil {
				p.claims = c.claims
			}
			c.oidc.Issuer, c.oidc.ClientID = p.URL, "conclave"
			w := byName(servertest.StartWith(t, servertest.Options{OIDC: c.oidc}))
			w.AddPerson("anna", "Anna Weber")
			at := signIn(t, w, "/m/"+w.OpenMeeting("anna").Text(), c.between)
			if c.code == "" && !strings.Contains(at, "#e=") || c.code != "" && !strings.HasSuffix(at, "#p="+c.code) {
				t.Errorf("ends at %s", at)
			}
		})
	}
}

func TestASignInGoesBackToNowhereElse(t *testing.T) {
	p := newProvider(t)
	w := byName(servertest.StartWith(t, servertest.Options{OIDC: server.OIDC{Issuer: p.URL, ClientID: "conclave"}}))
	for _, to := range []string{"", "/", "//evil.example", "https://evil.example/m/AAAAAAAAAAAAAAAAAAAAAA", "/m/../x", "/g/AAAAAAAAAAAAAAAAAAAAAA"} {
		if at := signIn(t, w, to, nil); !strings.HasPrefix(at, "403") {
			t.Errorf("%q: %s", to, at)
		}
	}
	without := byName(servertest.Start(t))
	if at := signIn(t, without, "/m/AAAAAAAAAAAAAAAAAAAAAA", nil); !strings.HasPrefix(at, "404") {
		t.Errorf("without a provider: %s", at)
	}
}
