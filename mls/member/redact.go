package member

import (
	"fmt"
	"io"
)

// What holds secrets shows its name to every verb of package fmt and to logs,
// and nothing else.

func redact(f fmt.State, name string) { _, _ = io.WriteString(f, "member."+name+"(redacted)") }

// Format hides the secrets.
func (g *Group) Format(f fmt.State, _ rune) { redact(f, "Group") }

// Format hides the secrets.
func (s *Staged) Format(f fmt.State, _ rune) { redact(f, "Staged") }

// Format hides the secrets.
func (s *Snapshot) Format(f fmt.State, _ rune) { redact(f, "Snapshot") }

// Format hides the secrets.
func (k *KeyPackageSecrets) Format(f fmt.State, _ rune) { redact(f, "KeyPackageSecrets") }

// Format hides the secret. It stands on the value, which is what callers pass
// around.
func (p PSK) Format(f fmt.State, _ rune) { redact(f, "PSK") }

// Format hides the secret.
func (r Resumption) Format(f fmt.State, _ rune) { redact(f, "Resumption") }
