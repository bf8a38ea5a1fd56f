// Package endpoint is the client's core: it asks for admission, joins and follows the room's keys, verifies every member
// for itself, and tells its owner what happens. The same code runs natively (conclave join) and as WebAssembly in the
// browser. It does not touch media: those are the owner's, behind the Media interface.
package endpoint

import (
	"time"

	"conclave"
)

// State is where an endpoint stands.
type State string

// The states of an endpoint.
const (
	StateConnecting   State = "connecting"   // no answer yet
	StateChecked      State = "checked"      // the line is known; the person may ask to join
	StateAsking       State = "asking"       // join sent
	StateWaiting      State = "waiting"      // at the door
	StateEntering     State = "entering"     // admitted, keys and media on their way
	StateIn           State = "in"           // member, with keys
	StateReconnecting State = "reconnecting" // line or server lost; the place is kept
	StateRefused      State = "refused"      // with reasons and fixes
	StateEnded        State = "ended"        // left, removed, replaced, or the meeting is over
)

// Event is one thing that happened. As JSON it is one line of `conclave join --json` and one message from the browser's
// core worker: {"event":"state","at":…, …fields}. Exactly one of the pointers is set.
type Event struct {
	Kind    string        `json:"event"` // the JSON name of the field that is set
	At      time.Time     `json:"at"`
	State   *StateEvent   `json:"state,omitempty"`
	Line    *LineEvent    `json:"line,omitempty"`
	Meeting *MeetingEvent `json:"meeting,omitempty"`
	Roster  *RosterEvent  `json:"roster,omitempty"`
	Code    *CodeEvent    `json:"code,omitempty"`
	Slots   *SlotsEvent   `json:"slots,omitempty"`
	Alarm   *AlarmEvent   `json:"alarm,omitempty"`
	Failed  *FailedEvent  `json:"failed,omitempty"`
	Heard   *HeardEvent   `json:"heard,omitempty"`
}

type (
	// StateEvent says where the endpoint stands now, and why when that is refused, reconnecting or ended.
	StateEvent struct {
		State   State              `json:"state"`
		Reasons []conclave.Problem `json:"reasons,omitempty"`
		Again   bool               `json:"again,omitempty"` // refused: asking once more may help
		Since   *time.Time         `json:"since,omitempty"` // reconnecting: since when the line is lost; waiting: since when
	}
	// LineEvent is the server's view of the line, before joining.
	LineEvent struct {
		Organisation string             `json:"organisation"`
		Person       string             `json:"person"` // the own name, from the own statement
		Unit         string             `json:"unit"`
		Grade        conclave.Grade     `json:"grade"`
		Facts        []conclave.Fact    `json:"facts"`
		Findings     []conclave.Problem `json:"findings"`
		Enough       bool               `json:"enough"`
	}
	// MeetingEvent is what is known of the meeting once admitted.
	MeetingEvent struct {
		Title     string         `json:"title"`
		Level     conclave.Level `json:"level"`
		LevelName string         `json:"level_name"`
		Since     time.Time      `json:"since"`
		Role      conclave.Role  `json:"role"`
	}
	// RosterEvent is the whole room. Members are the leaves of the group, verified by this endpoint; what the server
	// merely says of them stands in the fields so marked.
	RosterEvent struct {
		Members []Member `json:"members"`
		Waiting []Guest  `json:"waiting"` // the chair only
	}
	// Member is one leaf.
	Member struct {
		Leaf      uint32             `json:"leaf"`
		Self      bool               `json:"self"`
		Person    string             `json:"person"` // id; from the verified statement, as are the next four
		Name      string             `json:"name"`
		Unit      string             `json:"unit"`
		Device    conclave.DeviceID  `json:"device"`
		Assurance conclave.Assurance `json:"assurance"`
		Grade     conclave.Grade     `json:"grade"` // from the verified pass
		Leg       conclave.LegID     `json:"leg"`   // the server's word, as are the rest
		Role      conclave.Role      `json:"role"`
		Muted     bool               `json:"muted"`
		Camera    bool               `json:"camera"`
		Screen    bool               `json:"screen"`
		Hand      bool               `json:"hand"`
		Lost      *time.Time         `json:"lost,omitempty"`
	}
	// Guest is one who waits at the door, named by a verified statement.
	Guest struct {
		Leg       conclave.LegID     `json:"leg"`
		Name      string             `json:"name"`
		Unit      string             `json:"unit"`
		Assurance conclave.Assurance `json:"assurance"`
		Grade     conclave.Grade     `json:"grade"`
		Facts     []conclave.Fact    `json:"facts"`
		Since     time.Time          `json:"since"`
	}
	// CodeEvent is the security code and why it last changed.
	CodeEvent struct {
		Groups [6]string `json:"groups"` // five digits each
		Epoch  uint64    `json:"epoch"`
		Since  time.Time `json:"since"`
		Why    string    `json:"why"` // "began", "came", "went", "removed", "renewed"
		Who    []string  `json:"who"` // names
	}
	// SlotsEvent says which leaf is in which receiving slot, -1 for none.
	SlotsEvent struct {
		Audio   []int `json:"audio"`
		Camera  []int `json:"camera"`
		Screen  []int `json:"screen"`
		Crowded bool  `json:"crowded"`
	}
	// AlarmEvent is a contradiction that an honest server does not produce.
	AlarmEvent struct {
		Problem conclave.Problem `json:"problem"`
	}
	// FailedEvent answers a command that could not be followed.
	FailedEvent struct {
		Of     string           `json:"of"`
		Reason conclave.Problem `json:"reason"`
	}
	// HeardEvent is sent by owners of native media: the first opened frame of a member.
	HeardEvent struct {
		Leaf   uint32 `json:"leaf"`
		Stream string `json:"stream"` // "microphone", "camera", "screen"
		Frames int    `json:"frames"`
	}
)
