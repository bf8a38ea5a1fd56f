package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Whoever asks by the exit code whether a log holds must not take a Ctrl-C, or the SIGTERM of timeout, for a yes.
func TestAVerbThatIsStoppedBeforeItsEndDoesNotExitAsDone(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		stop()
		<-r.Context().Done()
	}))
	defer server.Close()
	var out, wrong strings.Builder
	code := exitCode(run(ctx, []string{"audit", "copy", server.URL, t.TempDir()}, strings.NewReader(""), &out, io.Discard), &wrong)
	if code != exitFailed || wrong.String() != "conclave: stopped before it was done\n" || out.Len() > 0 {
		t.Errorf("exit code %d, saying %q and %q", code, wrong.String(), out.String())
	}
	if code := exitCode(nil, &wrong); code != exitDone {
		t.Errorf("a verb that ended exits with %d", code)
	}
}
