// Package endpoint is the client's core: it asks for admission, joins and follows the room's keys, verifies every member
// for itself, and tells its owner what happens. The same code runs natively (conclave join) and as WebAssembly in the
// browser. It does not touch media: those are the owner's, behind the Media interface.
package endpoint

import (
	"time"

	"conclave"
	"conclave/signal"
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
	StateQuarantined  State = "quarantined"  // the line is no longer good enough: no keys, the way back is shown
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
	Notice  *NoticeEvent  `json:"notice,omitempty"`
	Keys    *KeysEvent    `json:"keys,omitempty"`
	Ready   *ReadyEvent   `json:"ready,omitempty"`
	Probing *ProbingEvent `json:"probing,omitempty"`
	Probed  *ProbedEvent  `json:"probed,omitempty"`
	Ruled   *RuledEvent   `json:"ruled,omitempty"`
}

type (
	// StateEvent says where the endpoint stands now, and why when that is refused, reconnecting or ended.
	StateEvent struct {
		State   State              `json:"state"`
		Reasons []conclave.Problem `json:"reasons,omitempty"`
		Again   bool               `json:"again,omitempty"` // refused: asking once more may help
		Since   *time.Time         `json:"since,omitempty"` // reconnecting, quarantined, waiting: since when
		Early   bool               `json:"early,omitempty"` // waiting: the meeting starts with its chair
		Level   string             `json:"level,omitempty"` // quarantined: the level that the line is held against now
		// Assertion is set in quarantine where another join with a fresh touch of the passkey helps.
		Assertion *signal.AssertionWanted `json:"assertion,omitempty"`
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
		Exceptable   bool               `json:"exceptable,omitempty"` // not enough, but two who are in could let it pass
		AskPlace     bool               `json:"ask_place,omitempty"`  // the claimed fact "place" could count
		// Assertion says that joining asks for a fresh touch of the passkey, and with which credentials.
		Assertion *signal.AssertionWanted `json:"assertion,omitempty"`
	}
	// MeetingEvent is what is known of the meeting once admitted, and again when its level is raised or its policy changed.
	MeetingEvent struct {
		Title     string         `json:"title"`
		Level     conclave.Level `json:"level"`
		LevelName string         `json:"level_name"`
		Since     time.Time      `json:"since"`
		Until     time.Time      `json:"until,omitzero"` // as the server says: it is over then
		Role      conclave.Role  `json:"role"`
		Raised    string         `json:"raised,omitempty"` // the name of who raised the level just now
	}
	// RosterEvent is the whole room. Members are the leaves of the group, verified by this endpoint; what the server
	// merely says of them stands in the fields so marked.
	RosterEvent struct {
		Members []Member `json:"members"`
		Waiting []Guest  `json:"waiting"` // the chair only
		// Away are the legs in quarantine; they hold no keys.
		Away       []Away      `json:"away"`
		Paused     *Paused     `json:"paused,omitempty"`
		Exceptions []Exception `json:"exceptions"`
		Closed     []string    `json:"closed"` // what policy holds closed for now: "screen"
		// Absent are the invited who are not there, on the server's word; empty for whom policy does not let know.
		Absent []Absent `json:"absent"`
		// Hushed says who last muted all: whoever comes by it mutes their own microphone, once for each. Shut says that the
		// door is closed, Offered that the chair is offered.
		Hushed  *ChairAct `json:"hushed,omitempty"`
		Shut    *ChairAct `json:"shut,omitempty"`
		Offered *ChairAct `json:"offered,omitempty"`
	}
	// ChairAct is what a chair did, on the server's word.
	ChairAct struct {
		Since time.Time `json:"since"`
		By    string    `json:"by"`             // a name; "" of one who is gone
		To    string    `json:"to,omitempty"`   // a name, of Offered
		Mine  bool      `json:"mine,omitempty"` // this leg did it
		Can   bool      `json:"can,omitempty"`  // of Offered: it is offered to this leg
	}
	// Absent is one who is invited and not there.
	Absent struct {
		Person  string            `json:"person"` // id
		Name    string            `json:"name"`
		Unit    string            `json:"unit"`
		Ringing bool              `json:"ringing"`
		Against *conclave.Problem `json:"against,omitempty"` // what stands against ringing them
	}
	// Away is a leg in quarantine, named by a verified statement.
	Away struct {
		Leg     conclave.LegID     `json:"leg"`
		Name    string             `json:"name"`
		Unit    string             `json:"unit"`
		Reasons []conclave.Problem `json:"reasons"`
		Since   time.Time          `json:"since"`
		// Exceptable says that policy lets what stands in the way be excepted; the server's word.
		Exceptable bool `json:"exceptable"`
	}
	// Paused says that nobody sends.
	Paused struct {
		Since time.Time `json:"since"`
		By    string    `json:"by"`  // a name; "" without one
		Can   bool      `json:"can"` // this leg may let the room go on
	}
	// Exception is one that is asked for, or in force.
	Exception struct {
		ID     uint32             `json:"id"`
		Leg    conclave.LegID     `json:"leg"`
		Name   string             `json:"name"`
		Waives []conclave.Problem `json:"waives"`
		Reason string             `json:"reason"`
		By     string             `json:"by"`     // a name
		Second string             `json:"second"` // a name; "" while nobody has confirmed it
		Until  time.Time          `json:"until"`
		Can    bool               `json:"can"` // this leg may confirm or decline it
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
		// Kind is of the verified statement: "device", "guest", "phone". Gateway is set for a phone: its gateway hears the
		// room.
		Kind    string          `json:"kind"`
		Gateway bool            `json:"gateway,omitempty"`
		Line    []conclave.Fact `json:"line"` // the server's word
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
		Kind      string             `json:"kind"`  // of the verified statement
		Known     bool               `json:"known"` // in the directory: the server's word
		Early     bool               `json:"early"`
		Reasons   []conclave.Problem `json:"reasons"`
		// Exceptable says that policy lets what stands in the way be excepted; the server's word.
		Exceptable bool `json:"exceptable"`
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
	// KeysEvent says that a newer list of withdrawn keys was shown: its counter is to be kept, and to be given as
	// Config.Withdrawn from then on.
	KeysEvent struct {
		Withdrawn uint64 `json:"withdrawn"`
	}
	// NoticeEvent tells the person something apart from the meeting's course.
	NoticeEvent struct {
		ID     string           `json:"id,omitempty"` // for Read: it is told again until then
		Notice conclave.Problem `json:"notice"`
		Link   string           `json:"link,omitempty"`
	}
	// ReadyEvent answers Mission.
	ReadyEvent struct {
		Level     conclave.Level     `json:"level"`
		LevelName string             `json:"level_name"`
		Ready     bool               `json:"ready"`
		Reasons   []conclave.Problem `json:"reasons"`
		Document  []byte             `json:"document"`
		Grants    [][]byte           `json:"grants"` // by which others verify the document
		Until     time.Time          `json:"until"`  // from the verified document
	}
	// ProbingEvent answers Probe: the owner of media connects to there, with nothing to send.
	ProbingEvent struct {
		Server signal.Server `json:"server"`
	}
	// ProbedEvent is what the server saw of it.
	ProbedEvent struct {
		Reached bool              `json:"reached"`
		Facts   []conclave.Fact   `json:"facts"`
		Reason  *conclave.Problem `json:"reason,omitempty"`
	}
	// RuledEvent says, of a leg that is let in, what it claims of its line as far as that was ruled on. What came later was not.
	RuledEvent struct {
		Facts []conclave.Fact `json:"facts"`
	}
	// HeardEvent is sent by owners of native media: the first opened frame of a member.
	HeardEvent struct {
		Leaf   uint32 `json:"leaf"`
		Stream string `json:"stream"` // "microphone", "camera", "screen"
		Frames int    `json:"frames"`
	}
)
