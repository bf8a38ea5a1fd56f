package pass

import (
	"fmt"

	"conclave"
)

// fixes holds the way out of each problem of this package.
var fixes = map[string]string{
	"root_malformed":       "enrol_again",
	"organisation_unknown": "use_own_link",
	"grant_malformed":      "ask_administrator",
	"grant_signature":      "ask_administrator",
	"grant_missing":        "ask_administrator",
	"grant_early":          "set_clock",
	"grant_expired":        "ask_administrator",
	"statement_malformed":  "enrol_again",
	"statement_signature":  "enrol_again",
	"statement_early":      "set_clock",
	"statement_expired":    "renew_enrolment",
	"statement_key":        "enrol_again",
	"pass_malformed":       "join_again",
	"pass_signature":       "join_again",
	"pass_early":           "set_clock",
	"pass_expired":         "join_again",
	"pass_meeting":         "join_again",
	"pass_device":          "join_again",
	"pass_level":           "join_again",
	"pass_policy":          "join_again",
	"meeting_malformed":    "ask_administrator",
	"log_proof_missing":    "leave_and_report",
	"log_proof_malformed":  "leave_and_report",
	"log_proof_signature":  "leave_and_report",
	"log_proof_other":      "leave_and_report",
	"readiness_malformed":  "test_again",
	"readiness_signature":  "test_again",
	"readiness_early":      "set_clock",
	"readiness_expired":    "test_again",
}

// problem panics on a code without a fix: nobody may be left without a way out.
func problem(code string) conclave.Problem {
	fix, ok := fixes[code]
	if !ok {
		panic("pass: problem without a fix: " + code)
	}
	return conclave.Problem{Code: code, Fix: fix}
}

func withArg(p conclave.Problem, name, value string) conclave.Problem {
	p.Args = map[string]string{name: value}
	return p
}

// malformed says what could not be read; the cause stays in the error's text for logs, the Problem is found by errors.As.
func malformed(what string, cause error) error {
	return &malformedError{problem(what + "_malformed"), what, cause}
}

type malformedError struct {
	problem conclave.Problem
	what    string
	cause   error
}

func (e *malformedError) Error() string   { return fmt.Sprintf("pass: parse %s: %v", e.what, e.cause) }
func (e *malformedError) Unwrap() []error { return []error{e.problem, e.cause} }
