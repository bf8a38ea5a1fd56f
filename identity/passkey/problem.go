package passkey

import (
	"fmt"
	"io"
	"log/slog"

	"conclave"
)

// What is told to people.
var (
	problemRefused    = conclave.Problem{Code: "passkey_refused", Fix: "passkey_again"}
	problemUnverified = conclave.Problem{Code: "passkey_unverified", Fix: "passkey_pin"}
	problemOther      = conclave.Problem{Code: "passkey_other", Fix: "use_own_passkey"}
	problemSite       = conclave.Problem{Code: "passkey_site", Fix: "use_own_link"}
	problemStale      = conclave.Problem{Code: "passkey_stale", Fix: "passkey_again"}
	problemCopied     = conclave.Problem{Code: "passkey_copied", Fix: "ask_administrator"}
)

// refusal keeps the parser's or verifier's cause for a log; it names structure, not people.
type refusal struct{ cause error }

func refused(cause error) error { return refusal{cause} }

func (r refusal) Error() string   { return fmt.Sprintf("passkey: %v", r.cause) }
func (r refusal) Unwrap() []error { return []error{problemRefused, r.cause} }

// Format implements fmt.Formatter: a credential names a person's key.
func (c Credential) Format(f fmt.State, _ rune) { io.WriteString(f, conclave.Tag("passkey", c.ID)) }

// LogValue implements slog.LogValuer.
func (c Credential) LogValue() slog.Value { return slog.StringValue(conclave.Tag("passkey", c.ID)) }
