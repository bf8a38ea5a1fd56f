package server_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"conclave/server/servertest"
)

// adminPost sends a request as the administrator and returns the answer's body.
func adminPost(t testing.TB, w *servertest.World, path, body string) string {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	rec := httptest.NewRecorder()
	w.Server.AdminHandler().ServeHTTP(rec, r)
	if rec.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", path, rec.Code, rec.Body)
	}
	return rec.Body.String()
}
