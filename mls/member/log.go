//go:build !js

package member

import "log/slog"

// Nothing is logged in a browser, and log/slog would be a tenth of a megabyte on the way there: so these stand apart.

// LogValue hides the secrets.
func (g *Group) LogValue() slog.Value { return slog.StringValue("member.Group(redacted)") }

// LogValue hides the secrets.
func (s *Staged) LogValue() slog.Value { return slog.StringValue("member.Staged(redacted)") }

// LogValue hides the secrets.
func (s *Snapshot) LogValue() slog.Value { return slog.StringValue("member.Snapshot(redacted)") }

// LogValue hides the secrets.
func (k *KeyPackageSecrets) LogValue() slog.Value {
	return slog.StringValue("member.KeyPackageSecrets(redacted)")
}

// LogValue hides the secret.
func (p PSK) LogValue() slog.Value { return slog.StringValue("member.PSK(redacted)") }

// LogValue hides the secret.
func (r Resumption) LogValue() slog.Value { return slog.StringValue("member.Resumption(redacted)") }
