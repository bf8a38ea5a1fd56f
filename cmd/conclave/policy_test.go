package main

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"conclave/admission"
)

// Whatever the default policy says is worded, here and in the web client's catalogues.
func TestTheDefaultPolicyIsWorded(t *testing.T) {
	for _, w := range warnings(admission.Default()) {
		t.Error(w)
	}
	b, err := os.ReadFile("../../web/src/words/codes.json")
	if err != nil {
		t.Fatal(err)
	}
	var codes struct{ Problems, Fixes []string }
	if err := json.Unmarshal(b, &codes); err != nil {
		t.Fatal(err)
	}
	for _, r := range admission.Default().Rules() {
		if !r.Permit && (!slices.Contains(codes.Problems, r.Reason.Code) || !slices.Contains(codes.Fixes, r.Reason.Fix)) {
			t.Errorf("line %d: %s or %s is not in the web client's catalogues", r.Line, r.Reason.Code, r.Reason.Fix)
		}
	}
}

// The words of the verbs follow what the package knows.
func TestThePolicyVerbsKnowEveryColumnAndQuestion(t *testing.T) {
	for _, c := range admission.Columns {
		if whyUsage[c] == "" {
			t.Errorf("conclave policy why does not explain %s", c)
		}
	}
	for _, r := range admission.Default().Rules() {
		for _, q := range r.Questions {
			if !slices.ContainsFunc(questionWords, func(w struct{ name, words string }) bool { return w.name == q }) {
				t.Errorf("conclave policy explain does not know %s", q)
			}
		}
	}
}
