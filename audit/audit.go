// Package audit records what happened in meetings, without content and without names: rulings, passes, joins, commits,
// removals, enrolments. A record is durable before what it tells of has its effect: whoever acts calls Record first and
// acts only if it returned nil.
//
// Records stand in a stream from which the engine does not delete; the place in the stream is the record's number, and record
// n is leaf n-1 of a Merkle log (package merkle). The log signs checkpoints of itself a moment later, keeps a plain copy
// that anybody can verify (package audit/folder), and at its start holds the stream against the last checkpoint: where they
// differ it does not run. What is personal in a record is sealed apart from the leaf, which commits to it, and can be erased.
package audit

import (
	"context"
	"slices"
	"time"

	"conclave"
)

// Kind says what a record tells of.
type Kind string

// The kinds of records.
const (
	KindStarted        Kind = "started"         // the server started; Codes say if the one before did not end
	KindPersonAdded    Kind = "person_added"    //
	KindPersonRemoved  Kind = "person_removed"  // struck off the directory
	KindLinkIssued     Kind = "link_issued"     // a one-time enrolment link
	KindEnrolment      Kind = "enrolment"       // a device was enrolled, or was refused (Codes)
	KindRenewal        Kind = "renewal"         // a device statement was renewed, or was refused
	KindDeviceRevoked  Kind = "device_revoked"  //
	KindMeetingOpened  Kind = "meeting_opened"  //
	KindMeetingEnded   Kind = "meeting_ended"   //
	KindRuling         Kind = "ruling"          // on a request to join, or on a living leg
	KindDecision       Kind = "decision"        // the chair's, at the door
	KindAssertion      Kind = "assertion"       // a fresh assertion of a device's passkey did not hold
	KindPass           Kind = "pass"            // a pass was signed
	KindEnter          Kind = "enter"           // a leg became a member
	KindCommit         Kind = "commit"          // a member's commit was ordered
	KindLost           Kind = "lost"            // a leg lost its line
	KindResumed        Kind = "resumed"         // and is back
	KindRemoval        Kind = "removal"         // media cut, removal proposed
	KindRemovalOverdue Kind = "removal_overdue" // no member committed a removal in time
	KindRemoved        Kind = "removed"         // the removal is committed: the leg has no keys
	KindLeave          Kind = "leave"           // by its own wish
	KindCommitRefused  Kind = "commit_refused"  // a commit broke the rules
	KindGroupDropped   Kind = "group_dropped"   // the last member is gone
	KindFacts          Kind = "facts"           // a living leg's line has other facts
	KindQuarantine     Kind = "quarantine"      // a leg's line is no longer good enough: cut, and keys changed without it
	KindHealed         Kind = "healed"          // and it is let in again
	KindLevelRaised    Kind = "level_raised"    // asked for (Outcome "wait") or in force ("done")
	KindPolicyChanged  Kind = "policy_changed"  // the administrator's; or in force in a meeting
	KindGround         Kind = "ground"          // what is known of networks, places and risks, by its digest: Commitment
	KindTrip           Kind = "trip"            // a person's trip was announced ("done"), or taken back ("refuse"): Facts
	KindPaused         Kind = "paused"          // By only under a name
	KindContinued      Kind = "continued"       //
	KindAllMuted       Kind = "all_muted"       // the chair asked all to be mute
	KindDoor           Kind = "door"            // the chair closed ("closed") or opened ("opened") the door: Outcome
	KindChair          Kind = "chair"           // offered to Leg ("wait"), taken by it ("done"), not taken ("refuse"), the meeting's own again ("back")
	KindException      Kind = "exception"       // asked for ("wait"), confirmed ("admit"), declined ("refuse"), over ("done")
	KindInvitation     Kind = "invitation"      // a guest's one-time invitation was issued
	KindMission        Kind = "mission"         // a line was tested before a trip
	KindShown          Kind = "shown"           // a leg began ("screen") or stopped ("") to share its screen: Outcome
	KindLedger         Kind = "ledger"          // a minute of a leg's sealed speech ledger: Commitment
	KindMark           Kind = "mark"            // the key with which a leg marks what it plays: Commitment
	KindCall           Kind = "call"            // a phone call came to the gateway, and what became of it: Outcome, Codes
	KindCodesVoided    Kind = "codes_voided"    // phone codes of a person for a meeting: Size
	KindRing           Kind = "ring"            // the gateway was asked to ring a person
	KindGateway        Kind = "gateway"         // the phone gateway came or went
	KindKeys           Kind = "keys"            // keys of the organisation were granted or withdrawn
	KindErasure        Kind = "erasure"         // personal parts of records were erased: Erased
	KindDeleted        Kind = "deleted"         // what legs had handed in before Until was deleted for its age: Codes, Size
	KindExport         Kind = "export"          // a person was given all that is kept on them
	KindInvestigation  Kind = "investigation"   // sealed ledgers or marks were opened
	KindUndone         Kind = "undone"          // an earlier record of the kind in Codes had no effect: writing it failed
	KindUnrecorded     Kind = "unrecorded"      // the disk was away for so long that Size records are lost
)

// What a record of KindDeleted tells of.
const (
	DeletedLedgers = "ledgers" // minutes of sealed speech ledgers
	DeletedMarks   = "marks"   // sealed keys of marks
	DeletedLinks   = "links"   // one-time links and invitations that had run out
)

// Index is a record's number in the log; the first has 1.
type Index uint64

// Record is one record. Fields that do not apply are zero and absent in JSON. There are no names: who a device belongs to
// stands in the directory, what a meeting is called stands in its entry.
//
// Person, People, Device, Facts and Reason are its personal part: it is kept apart from the rest, which holds a salted commitment to
// it, so that it can be erased while the log goes on verifying.
type Record struct {
	Kind     Kind               `json:"kind"`
	Time     time.Time          `json:"time"`            // the server's clock
	Steady   time.Time          `json:"steady,omitzero"` // what it would say had nobody set it since the start; zero: what it says
	Meeting  conclave.MeetingID `json:"meeting,omitzero"`
	Leg      conclave.LegID     `json:"leg,omitzero"`
	By       conclave.LegID     `json:"by,omitzero"`       // the leg that decided or committed
	Device   conclave.DeviceID  `json:"device,omitzero"`   // personal
	Outcome  string             `json:"outcome,omitempty"` // "admit", "wait", "refuse", "done"
	Grade    *conclave.Grade    `json:"grade,omitempty"`
	Level    *conclave.Level    `json:"level,omitempty"`
	Codes    []string           `json:"codes,omitempty"` // of the problems that stood in the way
	Facts    []conclave.Fact    `json:"facts,omitempty"` // personal; of the line
	Policy   []byte             `json:"policy,omitempty"`
	Epoch    uint64             `json:"epoch,omitempty"`
	TreeHash []byte             `json:"tree_hash,omitempty"` // of the epoch that a commit begins
	Leaf     *uint32            `json:"leaf,omitempty"`

	Person conclave.PersonID `json:"person,omitempty"` // personal; whom it is about, where no device says it
	// People are personal: the others whom it is about.
	People     []conclave.PersonID `json:"people,omitempty"`
	Reason     string              `json:"reason,omitempty"`     // personal; what a person gave as their reason
	Until      time.Time           `json:"until,omitzero"`       // to when what was allowed holds
	Commitment []byte              `json:"commitment,omitempty"` // to what is kept elsewhere: SHA-256
	Size       uint64              `json:"size,omitempty"`       // of what it tells of: octets, or how many
	Erased     []Span              `json:"erased,omitempty"`     // whose personal parts are erased
}

// Concerns says whether a record names a person.
func (r *Record) Concerns(person conclave.PersonID) bool {
	return person != "" && (r.Person == person || slices.Contains(r.People, person))
}

// Span is a run of records, both ends included.
type Span struct {
	From Index `json:"from"`
	To   Index `json:"to"`
}

// Recorder writes records.
type Recorder interface {
	// Record returns once the record is durable. On an error the caller must not act.
	Record(ctx context.Context, r Record) (Index, error)
}

// Entry is a record with its number.
type Entry struct {
	Index  Index  `json:"index"`
	Record Record `json:"record"`
	// Erased says that the record had a personal part, which was erased.
	Erased bool `json:"erased,omitempty"`
}

// Codes returns the codes of problems, for a record.
func Codes(problems []conclave.Problem) []string {
	var codes []string
	for _, p := range problems {
		codes = append(codes, p.Code)
	}
	return codes
}
