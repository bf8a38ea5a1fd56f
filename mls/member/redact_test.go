package member

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"conclave/mls"
)

func TestSecretsReachNoLog(t *testing.T) {
	r := newRoom(t, mls.P256AES128SHA256P256)
	g := r.members[0]
	var snap Snapshot
	if err := g.Save(&snap); err != nil {
		t.Fatal(err)
	}
	secret := []byte("correct horse battery staple")
	for _, v := range []any{
		g, must(g.Commit(CommitOptions{}, r.now))(t), &snap,
		must(NewKeyPackage(newConfig(t, r.suite), named("x"), nil, r.now))(t),
		PSK{ID: []byte("id"), Secret: secret}, &PSK{Secret: secret}, Resumption{Secret: secret}, &Resumption{Secret: secret},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%d", "%q", "%b", "%o", "%c", "%U"} {
			if s := fmt.Sprintf(verb, v); !strings.HasSuffix(s, "(redacted)") {
				t.Errorf("%T prints %q for %s", v, s, verb)
			}
		}
		var out bytes.Buffer
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		if strings.Count(out.String(), "(redacted)") != 2 {
			t.Errorf("%T is logged as %s", v, out.String())
		}
	}
}
