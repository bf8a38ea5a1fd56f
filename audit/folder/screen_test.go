package folder

import (
	"testing"

	"conclave"
)

func TestAnOrganisationsNameThatWouldRewriteTheScreenIsRefused(t *testing.T) {
	for id, good := range map[string]bool{"ministry.example": true, "a\x1b[2Jb": false, "a\nThe log holds.": false, "a\u202eb": false} {
		b, err := (&Organisation{ID: conclave.OrganisationID(id), Root: make([]byte, 32), Grants: [][]byte{{1}}}).encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseOrganisation(b); (err == nil) != good {
			t.Errorf("%q: %v", id, err)
		}
	}
}
