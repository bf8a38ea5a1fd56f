package signal

import (
	"time"

	"conclave"
)

// The messages of a client, in the order in which a join sends them. Byte slices are base64 in JSON.
type (
	// Hello answers Challenge: who asks for which meeting. Nothing of the meeting is told before the ruling.
	Hello struct {
		Meeting   conclave.MeetingID `json:"meeting"`
		Statement []byte             `json:"statement"`        // the device statement, encoded (package pass)
		Signature []byte             `json:"signature"`        // by the leaf key over HelloContent
		Client    Client             `json:"client"`           // claimed
		Facts     []conclave.Fact    `json:"facts,omitempty"`  // claimed; at most 32
		Resume    *Resume            `json:"resume,omitempty"` // a leg that lost its line or its server
	}
	// Resume names the leg that an endpoint with living keys comes back to.
	Resume struct {
		Leg   conclave.LegID `json:"leg"`
		Epoch uint64         `json:"epoch"` // the last that it entered
		// Ticket is what Admitted gave to this leg alone: others know the leg's name, and a copy of its device could sign.
		Ticket []byte `json:"ticket"`
	}
	// Client describes the program, as claimed.
	Client struct {
		Kind    string `json:"kind"` // "browser", "headless", "phone"
		Name    string `json:"name"`
		Version string `json:"version"`
		Agent   string `json:"agent,omitempty"` // of a browser: what it calls itself to its pages
	}
	// Join asks to be let in, after Line; and again where Refused or Quarantined left the way open.
	Join struct {
		Facts []conclave.Fact `json:"facts,omitempty"` // claimed, as they are now
		// Fingerprint is the SHA-256 of the client's DTLS certificate, of which Media must then speak; with Assertion only.
		Fingerprint []byte `json:"fingerprint,omitempty"`
		// Assertion is a fresh WebAuthn assertion (JSON, as the browser gives it) whose challenge is the SHA-256 of
		// AssertionContent; where a level asks for one.
		Assertion []byte `json:"assertion,omitempty"`
	}
	// Facts says that what the endpoint claims of its line has changed. It may be sent at the door, in the room and in
	// quarantine; the leg is ruled anew. From the server, to a leg past the door, it says what of this was ruled on.
	Facts struct {
		Facts []conclave.Fact `json:"facts"` // all of them, as they are now
	}
	// Enter hands in the external commit with which a leg joins, or, where the room has no group yet, the GroupInfo of
	// the group that it made (Commit empty, Tree set).
	Enter struct {
		Epoch     uint64 `json:"epoch"`            // the epoch that the commit starts from
		Commit    []byte `json:"commit,omitempty"` // MLSMessage with a PublicMessage
		GroupInfo []byte `json:"group_info"`       // MLSMessage with the new epoch's GroupInfo, without the tree
		Tree      []byte `json:"tree,omitempty"`   // the ratchet tree of a new group
	}
	// Commit hands in a member's commit; from the server it brings an accepted one, the own included (the
	// acknowledgement).
	Commit struct {
		Epoch     uint64 `json:"epoch"` // the epoch that the commit starts from
		Message   []byte `json:"message"`
		GroupInfo []byte `json:"group_info,omitempty"` // client only
		// Proposals are those of the epoch, which the commit refers to: server only, for one who comes back and has
		// missed them too.
		Proposals [][]byte `json:"proposals,omitempty"`
	}
	// Proposal carries an MLS proposal by itself: the server's removal, or a member's own.
	Proposal struct {
		Epoch   uint64 `json:"epoch"`
		Message []byte `json:"message"`
	}
	// Media describes the client's end of the media path; signed by the leaf key over MediaContent.
	Media struct {
		Ufrag             string  `json:"ufrag"`
		Password          string  `json:"password"`
		Fingerprint       []byte  `json:"fingerprint"`        // SHA-256 of the client's DTLS certificate
		ServerFingerprint []byte  `json:"server_fingerprint"` // as this client was told it
		SSRC              Streams `json:"ssrc"`
		Opus              uint8   `json:"opus"` // the client's payload type numbers
		VP8               uint8   `json:"vp8"`
		Signature         []byte  `json:"signature"`
	}
	// Streams are the SSRCs of what a client sends; 0: it never will.
	Streams struct {
		Microphone uint32 `json:"microphone"`
		Camera     uint32 `json:"camera"`
		Screen     uint32 `json:"screen"`
	}
	// State is what a leg shows of itself.
	State struct {
		Muted  bool `json:"muted"`
		Camera bool `json:"camera"`
		Screen bool `json:"screen"`
		Hand   bool `json:"hand"`
	}
	// Renew asks for a fresh pass.
	Renew struct{}
	// Restate shows the statement that the device was given since the hello: it counts from the answer on, Restated.
	Restate struct {
		Statement []byte `json:"statement"`
	}
	// Decide is the chair's decision at the door.
	Decide struct {
		Leg   conclave.LegID   `json:"leg"`
		Legs  []conclave.LegID `json:"legs,omitempty"` // further ones: a group at once, each ruled on by itself
		Admit bool             `json:"admit"`
	}
	// Raise is the chair's wish to raise the meeting's level. There is no way down.
	Raise struct {
		Level conclave.Level `json:"level"`
	}
	// Pause stops all sending in the room, or lets it go on. Anybody may pause, without a name if wished; the chair, or
	// who paused under a name, lets it go on.
	Pause struct {
		On        bool `json:"on"`
		Anonymous bool `json:"anonymous,omitempty"` // neither the room nor the record learns who
	}
	// Preside is what the chair does for the room as a whole, and what the one who is offered the chair answers.
	Preside struct {
		Act string         `json:"act"`          // one of PresideActs
		Leg conclave.LegID `json:"leg,omitzero"` // of "offer": to whom
	}
	// Except is the chair's wish for an exception for a leg at the door or in quarantine, where the level allows any. It
	// counts once a second person has confirmed it.
	Except struct {
		Leg     conclave.LegID `json:"leg"`
		Reason  string         `json:"reason"`  // the chair's words, shown to all: 1 to 200 bytes
		Minutes uint16         `json:"minutes"` // 1 to 60
	}
	// Read says that the person has read a notice: it is told again until then.
	Read struct {
		ID string `json:"id"`
	}
	// Confirm is a second person's word on an exception.
	Confirm struct {
		Exception uint32 `json:"exception"`
		Yes       bool   `json:"yes"`
	}
	// Mission asks, instead of Join, whether this person, device and line would do for a level: a test before a trip. The
	// hello before it named the zero meeting.
	Mission struct {
		Level conclave.Level  `json:"level"`
		Facts []conclave.Fact `json:"facts,omitempty"`
	}
	// Probe asks, before Join, that the way of sound be tried: STUN and DTLS to the media port. It is answered with Probing,
	// and with Probed once something came of it.
	Probe struct {
		Ufrag       string `json:"ufrag"`
		Fingerprint []byte `json:"fingerprint"` // SHA-256 of the client's DTLS certificate
	}
	// Consistency asks for the proof that the device log only grew between two of its sizes (RFC 6962, Section 2.1.2).
	Consistency struct {
		From uint64 `json:"from"`
		To   uint64 `json:"to"`
	}
	// Ledger hands in a minute of the leg's speech ledger, sealed to the investigation key; always of the same size.
	Ledger struct {
		Minute uint32 `json:"minute"` // since the leg entered
		Sealed []byte `json:"sealed"`
	}
	// Mark hands in the key with which this leg marks what it plays, sealed to the investigation key, and its commitment;
	// before Media.
	Mark struct {
		Commitment []byte `json:"commitment"` // SHA-256, 32 bytes
		Sealed     []byte `json:"sealed"`
	}
	// Ring asks that the phone gateway ring an invited person at the number or address that the directory has; for those whom
	// policy lets.
	Ring struct {
		Person conclave.PersonID `json:"person"`
	}
	// Remove is the chair's removal of a leg.
	Remove struct {
		Leg    conclave.LegID `json:"leg"`
		Reason string         `json:"reason"` // one of RemoveReasons
	}
	// Leave ends a leg by its own wish. Proposal is its own Remove proposal, empty if it is no member yet.
	Leave struct {
		Proposal []byte `json:"proposal,omitempty"`
	}
	// Ping is answered with Pong; both sides send it every two seconds, and take a silence of six for a lost line.
	Ping struct {
		N uint64 `json:"n"`
	}
	// Pong answers Ping.
	Pong struct {
		N uint64 `json:"n"`
	}
)

// RemoveReasons are the reasons that a chair may give.
var RemoveReasons = []string{"wrong_meeting", "not_cleared", "disturbs", "other"}

// PresideActs are what Preside may say: all shall be mute; the door is closed, or opened; the chair is offered to a leg, the
// offer is taken back or declined, it is taken.
var PresideActs = []string{"mute_all", "close_door", "open_door", "offer", "withdraw", "take"}

// The messages of the server.
type (
	// Challenge opens every connection.
	Challenge struct {
		Nonce []byte    `json:"nonce"` // 32 bytes
		Time  time.Time `json:"time"`
	}
	// Line answers Hello: what we know of this line, and whether it would do. It says nothing of the meeting.
	Line struct {
		Grade    conclave.Grade     `json:"grade"`
		Facts    []conclave.Fact    `json:"facts"`
		Findings []conclave.Problem `json:"findings"` // what stands in the way, or could be better
		Enough   bool               `json:"enough"`   // joining would be admitted or heard at the door
		// Exceptable: it is not enough, and all that stands in the way could be let pass by two who are in the meeting. Whether anybody
		// is in it, this does not say: a join is answered by Quarantined in any case.
		Exceptable bool `json:"exceptable,omitempty"`
		// AskPlace: the person is to be asked where they are (the claimed fact "place"), since a rule looks at it.
		AskPlace bool `json:"ask_place,omitempty"`
		// Assertion is set where joining asks for a fresh assertion: what its challenge is made of, beside what the
		// client knows.
		Assertion *AssertionWanted `json:"assertion,omitempty"`
	}
	// AssertionWanted is what a client needs for a fresh assertion.
	AssertionWanted struct {
		Nonce             []byte   `json:"nonce"`              // 32 bytes, good for this connection
		ServerFingerprint []byte   `json:"server_fingerprint"` // SHA-256 of the server's DTLS certificate
		Credentials       [][]byte `json:"credentials"`        // ids of the passkeys that would do
	}
	// Refused ends a request. The connection stays open for another Join where Again is set.
	Refused struct {
		Reasons []conclave.Problem `json:"reasons"` // never empty
		Again   bool               `json:"again"`
	}
	// Waiting says that the chair decides, or (Early) that the meeting starts with its chair. Whether a chair is in the room, or
	// anybody, it does not say.
	Waiting struct {
		Since time.Time `json:"since"`
		Early bool      `json:"early,omitempty"`
	}
	// Quarantined says that the line is no longer good enough: media are cut, the keys are changed without this leg. The
	// connection stays; the leg is let in again by itself, with Admitted, once the reasons are gone.
	Quarantined struct {
		Reasons []conclave.Problem `json:"reasons"` // never empty
		Since   time.Time          `json:"since"`
		// Level is the name of the level that the reasons are about; only for one who was a member. It is another than the
		// one that leg was told of where the level has been raised.
		Level string `json:"level,omitempty"`
		// Assertion is set where a fresh assertion, in another Join, takes away what stands in the way, or some of it.
		Assertion *AssertionWanted `json:"assertion,omitempty"`
	}
	// Changed tells members that their meeting has another level or policy, once the group has it.
	Changed struct {
		Meeting Meeting        `json:"meeting"`
		By      conclave.LegID `json:"by,omitzero"` // who raised the level; zero: the administrator
	}
	// Readiness answers Mission. Document is the answer in a form that others can check (package pass).
	Readiness struct {
		Level     conclave.Level     `json:"level"`
		LevelName string             `json:"level_name"`
		Ready     bool               `json:"ready"`
		Reasons   []conclave.Problem `json:"reasons"` // what is missing; empty if ready
		Document  []byte             `json:"document"`
		Grants    [][]byte           `json:"grants"` // by which the document is verified, under the root that the client has pinned
	}
	// Probing answers Probe: where the client's end is waited for.
	Probing struct {
		Server Server `json:"server"`
	}
	// Probed says what came of a probe.
	Probed struct {
		Reached bool              `json:"reached"`
		Facts   []conclave.Fact   `json:"facts"`            // proven: "media", "media_network"; empty if it was not reached
		Reason  *conclave.Problem `json:"reason,omitempty"` // why not
	}
	// ConsistencyProof answers Consistency.
	ConsistencyProof struct {
		From uint64   `json:"from"`
		To   uint64   `json:"to"`
		Path [][]byte `json:"path"` // hashes of 32 bytes
	}
	// Notice tells a person something that matters to them, apart from the meeting's course: a device was enrolled in
	// their name, their call was refused.
	Notice struct {
		ID     string           `json:"id,omitempty"` // for Read; "" for one that is told once
		Notice conclave.Problem `json:"notice"`
		Link   string           `json:"link,omitempty"` // path and query on this server, "" if there is nothing to follow
	}
	// Admitted carries the pass and all that joining needs.
	Admitted struct {
		Leg     conclave.LegID `json:"leg"`
		Ticket  []byte         `json:"ticket"` // TicketSize octets, to come back with (Resume)
		Pass    []byte         `json:"pass"`
		Grants  [][]byte       `json:"grants"` // root-signed keys of the organisation (package pass)
		Meeting Meeting        `json:"meeting"`
		Slots   SlotCounts     `json:"slots"`
		Server  Server         `json:"server"`
		Group   *Group         `json:"group,omitempty"` // absent: make the group
		Resumed bool           `json:"resumed"`         // the leg is back in its place; Commits bring it up to date
		Commits []Commit       `json:"commits,omitempty"`
		Pending []Proposal     `json:"pending,omitempty"` // proposals of the current epoch (when resumed)
		// Withdrawn is the root's list of keys that count no more (package pass); absent where there never was one.
		Withdrawn []byte `json:"withdrawn,omitempty"`
		// LogProof shows that the leg's statement stands in the device log (C2SP tlog-proof); it goes into the leaf.
		LogProof []byte `json:"log_proof"`
		// Investigation is absent where the organisation has no investigation key: no ledger and no mark then.
		Investigation *Investigation `json:"investigation,omitempty"`
	}
	// Investigation is to whom a leg seals its speech ledger and its mark's key.
	Investigation struct {
		Key  []byte `json:"key"`  // the HPKE public key (package escrow), whose hash a grant vouches for
		Sync []byte `json:"sync"` // 32 bytes: by which a detector finds the marks' time
	}
	// Meeting is what an admitted leg is told of its meeting.
	Meeting struct {
		Title      string         `json:"title"`
		Level      conclave.Level `json:"level"`
		LevelName  string         `json:"level_name"` // the organisation's word, for instance "RESTRICTED"
		PolicyHash []byte         `json:"policy_hash"`
		Since      time.Time      `json:"since"`
		Until      time.Time      `json:"until,omitzero"` // it is over then
		Role       conclave.Role  `json:"role"`
	}
	// SlotCounts says how many receiving slots the room has: the answer's template.
	SlotCounts struct {
		Audio  int `json:"audio"`
		Camera int `json:"camera"`
		Screen int `json:"screen"`
	}
	// Server is the server's end of the media path for this leg.
	Server struct {
		Ufrag       string   `json:"ufrag"`
		Password    string   `json:"password"`
		Fingerprint []byte   `json:"fingerprint"` // SHA-256 of the server's DTLS certificate
		Candidates  []string `json:"candidates"`  // "192.0.2.1:7000", UDP
	}
	// Group is the group's public state for a joiner.
	Group struct {
		Epoch     uint64     `json:"epoch"`
		GroupInfo []byte     `json:"group_info"`
		Tree      []byte     `json:"tree"`
		Passes    []LeafPass `json:"passes"` // renewed since they were put into the leaf
	}
	// LeafPass is a renewed pass of a member.
	LeafPass struct {
		Leaf uint32 `json:"leaf"`
		Pass []byte `json:"pass"`
	}
	// Entered acknowledges Enter: the leg is a member.
	Entered struct {
		Epoch uint64 `json:"epoch"` // the new epoch
		Leaf  uint32 `json:"leaf"`
	}
	// Stale answers an Enter or Commit that lost the race. For Enter, Group is the state to try again from; a member
	// waits for the winner.
	Stale struct {
		Epoch uint64 `json:"epoch"`
		Group *Group `json:"group,omitempty"`
	}
	// MediaReady acknowledges Media.
	MediaReady struct{}
	// Roster is the server's view of the room. Names come from the leaves' statements, never from here.
	Roster struct {
		Legs    []RosterLeg `json:"legs"`
		Waiting []AtDoor    `json:"waiting,omitempty"` // for the chair only
		// Away are the legs in quarantine: they hold no keys, and their places are kept.
		Away       []Away      `json:"away,omitempty"`
		Paused     *Paused     `json:"paused,omitempty"`
		Exceptions []Exception `json:"exceptions,omitempty"`
		// Closed names what the policy holds closed while somebody's line is as weak as it is: "screen".
		Closed []string `json:"closed,omitempty"`
		// Hushed says who last muted all: each client mutes its own microphone, once for each. Shut says that the door is
		// closed, Offered that the chair is offered to another.
		Hushed  *Act `json:"hushed,omitempty"`
		Shut    *Act `json:"shut,omitempty"`
		Offered *Act `json:"offered,omitempty"`
	}
	// Act is what a chair did: when, over which leg, and for which leg.
	Act struct {
		Since time.Time      `json:"since"`
		By    conclave.LegID `json:"by"`
		To    conclave.LegID `json:"to,omitzero"`
	}
	// Absent lists the invited of the directory who are not here: neither in, nor at the door, nor in quarantine. It is for
	// those alone whom policy lets see them and have them rung; all of it, whenever it has changed.
	Absent struct {
		People []Invited `json:"people"`
	}
	// Invited is one of them. There is no leaf to name them: name and unit are the directory's, on the server's word.
	Invited struct {
		Person conclave.PersonID `json:"person"`
		Name   string            `json:"name"`
		Unit   string            `json:"unit"`
		// Ringing says that they are being rung now; Against what stands against that, nil if nothing does.
		Ringing bool              `json:"ringing,omitempty"`
		Against *conclave.Problem `json:"against,omitempty"`
	}
	// Away is a leg in quarantine, named by its statement.
	Away struct {
		Leg       conclave.LegID     `json:"leg"`
		Statement []byte             `json:"statement"`
		Reasons   []conclave.Problem `json:"reasons"` // codes and fixes, no arguments
		Since     time.Time          `json:"since"`
		// Exceptable says that policy lets what stands in the way be excepted by two.
		Exceptable bool `json:"exceptable,omitempty"`
	}
	// Paused says that nobody sends.
	Paused struct {
		Since time.Time       `json:"since"`
		By    *conclave.LegID `json:"by,omitempty"` // absent: without a name
		// Open says that any member may let the room go on: nobody is in whose it is.
		Open bool `json:"open,omitempty"`
	}
	// Exception is one that is asked for, or in force.
	Exception struct {
		ID        uint32             `json:"id"`
		Leg       conclave.LegID     `json:"leg"`
		Statement []byte             `json:"statement"` // the leg's
		Waives    []conclave.Problem `json:"waives"`    // what stands in the leg's way
		Reason    string             `json:"reason"`
		By        conclave.LegID     `json:"by"`
		Second    *conclave.LegID    `json:"second,omitempty"` // absent: nobody has confirmed it yet
		Until     time.Time          `json:"until"`
	}
	// RosterLeg is one leg in the room.
	RosterLeg struct {
		Leg  conclave.LegID `json:"leg"`
		Leaf uint32         `json:"leaf"`
		// Device is whose leg it is: clients hold it against the device that the leaf proves.
		Device conclave.DeviceID `json:"device"`
		Role   conclave.Role     `json:"role"`
		Grade  conclave.Grade    `json:"grade"`
		State  State             `json:"state"`
		Lost   *time.Time        `json:"lost,omitempty"` // since when its line is lost
		Joined time.Time         `json:"joined"`
		// Line is what is shown to all of this leg's line: kind of leg and the proven facts that the room may know.
		Line []conclave.Fact `json:"line,omitempty"`
	}
	// AtDoor is one who waits, with the statement by which the chair's client names them.
	AtDoor struct {
		Leg       conclave.LegID  `json:"leg"`
		Statement []byte          `json:"statement"`
		Grade     conclave.Grade  `json:"grade"`
		Facts     []conclave.Fact `json:"facts"`
		Since     time.Time       `json:"since"`
		// Reasons are why the leg waits: for the chair's word, or (one that policy refuses but lets be excepted) what
		// stands in its way.
		Reasons []conclave.Problem `json:"reasons,omitempty"`
		Known   bool               `json:"known"` // stands in the directory
		Early   bool               `json:"early,omitempty"`
		// Exceptable is of one that policy refuses: what stands in the way may be excepted by two.
		Exceptable bool `json:"exceptable,omitempty"`
	}
	// Slots says who is in which receiving slot: leaf indices, -1 for an empty slot.
	Slots struct {
		Audio   []int `json:"audio"`
		Camera  []int `json:"camera"`
		Screen  []int `json:"screen"`
		Crowded bool  `json:"crowded"` // more microphones than slots: send loudness
	}
	// Passes brings renewed passes of members, the own included.
	Passes struct {
		Passes []LeafPass `json:"passes"`
	}
	// Ended is the last message of a leg: why it is out.
	Ended struct {
		Reason conclave.Problem `json:"reason"`
	}
	// Restated answers Restate: the leg goes by that statement now.
	Restated struct {
		Statement []byte `json:"statement"`
		// LogProof shows that it stands in the device log, and goes into the leaf with it; absent before the leg is at the
		// door: Admitted brings it.
		LogProof []byte `json:"log_proof,omitempty"`
	}
	// Failed answers a message that could not be followed; the connection goes on.
	Failed struct {
		Of     string           `json:"of"` // the message's type
		Reason conclave.Problem `json:"reason"`
	}
)
