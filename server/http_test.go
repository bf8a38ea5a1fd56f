package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"conclave"
	"conclave/admission"
	"conclave/server/servertest"
	"conclave/signal"
)

func postJSON(t *testing.T, w *servertest.World, path string, v any) (int, map[string]any) {
	t.Helper()
	body, ok := v.(string)
	if !ok {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		body = string(b)
	}
	resp, err := w.Client().Post(w.URL+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return resp.StatusCode, out
}

func problemCode(out map[string]any) string {
	p, _ := out["problem"].(map[string]any)
	code, _ := p["code"].(string)
	if fix, _ := p["fix"].(string); fix == "" {
		return code + " without a fix"
	}
	return code
}

func TestADeviceIsEnrolledAndRenewedOverHTTP(t *testing.T) {
	w := servertest.Start(t)
	w.AddPerson("anna", "Anna Weber")
	d := w.NewDevice()
	token := w.Link("anna")
	request := map[string]any{"token": token, "leaf_key": d.Point, "proof": d.Sign(signal.EnrolContent(token)), "device_name": "Laptop"}
	code, out := postJSON(t, w, "/v1/enrol", request)
	if code != http.StatusOK {
		t.Fatalf("%d %v", code, out)
	}
	var answer struct {
		Statement    []byte   `json:"statement"`
		Root         []byte   `json:"root"`
		Grants       [][]byte `json:"grants"`
		Organisation struct {
			ID   string `json:"id"`
			Name string `json:"name"`
		} `json:"organisation"`
	}
	reread(t, out, &answer)
	s, err := w.Organisation.Trust.Statement(answer.Statement, time.Now())
	if err != nil || s.Name != "Anna Weber" || !bytes.Equal(answer.Root, w.Organisation.Root) || len(answer.Grants) != 4 || answer.Organisation.ID != "ministry.example" {
		t.Fatalf("enrolled %+v, %v", answer, err)
	}
	if code, out := postJSON(t, w, "/v1/enrol", request); code != http.StatusForbidden || problemCode(out) != "link_used" {
		t.Errorf("a second time: %d %v", code, out)
	}
	_, out = postJSON(t, w, "/v1/nonce", "{}")
	var nonce struct{ Nonce []byte }
	reread(t, out, &nonce)
	renewal := map[string]any{"statement": answer.Statement, "nonce": nonce.Nonce, "signature": d.Sign(signal.RenewContent(nonce.Nonce, answer.Statement, w.Host))}
	if code, out := postJSON(t, w, "/v1/renew", renewal); code != http.StatusOK {
		t.Errorf("renewal: %d %v", code, out)
	}
	renewal["signature"] = d.Sign(signal.RenewContent(nonce.Nonce, answer.Statement, "evil.example"))
	if code, out := postJSON(t, w, "/v1/renew", renewal); code != http.StatusForbidden || problemCode(out) != "renewal_proof" {
		t.Errorf("renewal for another host: %d %v", code, out)
	}
	renewal["nonce"] = make([]byte, 32)
	if code, out := postJSON(t, w, "/v1/renew", renewal); code != http.StatusForbidden || problemCode(out) != "request_malformed" {
		t.Errorf("renewal with a nonce of one's own: %d %v", code, out)
	}
}

func reread(t *testing.T, from, to any) {
	t.Helper()
	b, err := json.Marshal(from)
	if err == nil {
		err = json.Unmarshal(b, to)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestBadRequestsAreAnsweredWithAProblem(t *testing.T) {
	w := servertest.Start(t)
	for name, c := range map[string]struct{ body, code string }{
		"no JSON":          {"x", "request_malformed"},
		"two values":       {"{}{}", "request_malformed"},
		"an unknown field": {`{"rank":1}`, "request_malformed"},
		"too much":         {`{"token":"` + strings.Repeat("x", 40<<10) + `"}`, "request_malformed"},
		"no token":         {`{}`, "link_malformed"},
		"a wrong token":    {fmt.Sprintf(`{"token":"%s"}`, strings.Repeat("A", 22)), "enrolment_proof"},
	} {
		if code, out := postJSON(t, w, "/v1/enrol", c.body); code != http.StatusForbidden || problemCode(out) != c.code {
			t.Errorf("%s: %d %v", name, code, out)
		}
	}
	for range 100 {
		postJSON(t, w, "/v1/enrol", "{}")
	}
	if code, out := postJSON(t, w, "/v1/enrol", "{}"); code != http.StatusTooManyRequests || problemCode(out) != "too_many" {
		t.Errorf("without end: %d %v", code, out)
	}
	resp, err := http.Post(w.URL+"/v1/enrol", "text/plain", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		t.Error("a form of another page was taken")
	}
	r, _ := http.NewRequest(http.MethodPost, w.URL+"/v1/nonce", strings.NewReader("{}"))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Origin", "https://evil.example")
	if resp, err = http.DefaultClient.Do(r); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("another page's request: %d", resp.StatusCode)
	}
}

func TestTheClientIsServedWithItsPolicy(t *testing.T) {
	w := servertest.Start(t)
	for path, want := range map[string]struct {
		code        int
		kind, cache string
	}{
		"/":                                  {200, "text/html; charset=utf-8", "no-cache"},
		"/m/" + conclave.MeetingID{1}.Text(): {200, "text/html; charset=utf-8", "no-cache"},
		"/assets/a.js":                       {200, "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"},
		"/m/short":                           {404, "text/html; charset=utf-8", "no-cache"},
		"/nonsense":                          {404, "text/html; charset=utf-8", "no-cache"},
		"/robots.txt":                        {404, "", ""},
		"/assets/":                           {404, "", ""},
		"/assets/a.js.br":                    {404, "", ""},
		"/../go.mod":                         {404, "", ""},
		"/v1/nothing":                        {404, "application/json", "no-store"},
		"/v1/organisation":                   {200, "application/json", "no-store"},
		"/v1/health":                         {200, "application/json", "no-store"},
	} {
		resp, err := http.Get(w.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		h := resp.Header
		if resp.StatusCode != want.code || want.kind != "" && (h.Get("Content-Type") != want.kind || h.Get("Cache-Control") != want.cache) {
			t.Errorf("%s: %d %s %s", path, resp.StatusCode, h.Get("Content-Type"), h.Get("Cache-Control"))
		}
		for name, value := range map[string]string{
			"Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "Cross-Origin-Opener-Policy": "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp", "Strict-Transport-Security": "",
		} {
			if h.Get(name) != value {
				t.Errorf("%s: %s is %q", path, name, h.Get(name))
			}
		}
		csp := h.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "script-src 'self' 'wasm-unsafe-eval';", "worker-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(csp, part) {
				t.Errorf("%s: the policy lacks %s", path, part)
			}
		}
		if strings.Contains(csp, "unsafe-inline") || strings.Contains(csp, "'unsafe-eval'") {
			t.Errorf("%s: the policy allows %s", path, csp)
		}
	}
	for accept, want := range map[string]string{"": "plain", "gzip": "gz", "gzip, deflate, br": "br", "br;q=0, gzip;q=0.5": "gz", "identity": "plain"} {
		r, _ := http.NewRequest(http.MethodGet, w.URL+"/assets/a.js", nil)
		r.Header.Set("Accept-Encoding", accept)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(b) != want {
			t.Errorf("%q gets %q (%s)", accept, b, resp.Header.Get("Content-Encoding"))
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, "TRACE"} {
		r, _ := http.NewRequest(method, w.URL+"/", nil)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode < 400 {
			t.Errorf("%s: %d", method, resp.StatusCode)
		}
	}
}

func TestEverybodyIsToldHowLevelsAreMarked(t *testing.T) {
	levels := admission.DefaultLevels()
	levels[2].Banner = admission.Banner{Colour: "violet", Words: map[string]string{"de": "Nicht weitersagen."}}
	policy, err := admission.Load(admission.DefaultPolicy(), levels)
	if err != nil {
		t.Fatal(err)
	}
	w := servertest.StartWith(t, servertest.Options{Policy: policy})
	resp, err := http.Get(w.URL + "/v1/organisation")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out struct {
		Levels []struct {
			Banner struct {
				Colour string            `json:"colour"`
				Words  map[string]string `json:"words"`
			} `json:"banner"`
		} `json:"levels"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || len(out.Levels) != 4 {
		t.Fatalf("%v: %d levels", err, len(out.Levels))
	}
	if b := out.Levels[2].Banner; b.Colour != "#6a2f9c" || b.Words["de"] != "Nicht weitersagen." {
		t.Errorf("marked %+v", b)
	}
	if b := out.Levels[3].Banner; b.Colour != "#8a1f2b" {
		t.Errorf("marked %+v", b)
	}
}
