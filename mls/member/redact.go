package member

import (
	"fmt"
	"io"
	"log/slog"
)

// What holds secrets shows its name to every verb of package fmt and to logs,
// and nothing else.

func redact(f fmt.State, name string) { _, _ = io.WriteString(f, "member."+name+"(redacted)") }

// Format hides the secrets.
func (g *Group) Format(f fmt.State, _ rune) { redact(f, "Group") }

// LogValue hides the secrets.
func (g *Group) LogValue() slog.Value { return slog.StringValue("member.Group(redacted)") }

// Format hides the secrets.
func (s *Staged) Format(f fmt.State, _ rune) { redact(f, "Staged") }

// LogValue hides the secrets.
func (s *Staged) LogValue() slog.Value { return slog.StringValue("member.Staged(redacted)") }

// Format hides the secrets.
func (s *Snapshot) Format(f fmt.State, _ rune) { redact(f, "Snapshot") }

// LogValue hides the secrets.
func (s *Snapshot) LogValue() slog.Value { return slog.StringValue("member.Snapshot(redacted)") }

// Format hides the secrets.
func (k *KeyPackageSecrets) Format(f fmt.State, _ rune) { redact(f, "KeyPackageSecrets") }

// LogValue hides the secrets.
func (k *KeyPackageSecrets) LogValue() slog.Value {
	return slog.StringValue("member.KeyPackageSecrets(redacted)")
}

// Format hides the secret. It stands on the value, which is what callers pass
// around.
func (p PSK) Format(f fmt.State, _ rune) { redact(f, "PSK") }

// LogValue hides the secret.
func (p PSK) LogValue() slog.Value { return slog.StringValue("member.PSK(redacted)") }

// Format hides the secret.
func (r Resumption) Format(f fmt.State, _ rune) { redact(f, "Resumption") }

// LogValue hides the secret.
func (r Resumption) LogValue() slog.Value { return slog.StringValue("member.Resumption(redacted)") }
