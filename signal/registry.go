package signal

// Type implements Message.
func (*Hello) Type() string { return "hello" }

// Type implements Message.
func (*Join) Type() string { return "join" }

// Type implements Message.
func (*Enter) Type() string { return "enter" }

// Type implements Message.
func (*Commit) Type() string { return "commit" }

// Type implements Message.
func (*Proposal) Type() string { return "proposal" }

// Type implements Message.
func (*Media) Type() string { return "media" }

// Type implements Message.
func (*State) Type() string { return "state" }

// Type implements Message.
func (*Renew) Type() string { return "renew" }

// Type implements Message.
func (*Restate) Type() string { return "restate" }

// Type implements Message.
func (*Decide) Type() string { return "decide" }

// Type implements Message.
func (*Remove) Type() string { return "remove" }

// Type implements Message.
func (*Leave) Type() string { return "leave" }

// Type implements Message.
func (*Ping) Type() string { return "ping" }

// Type implements Message.
func (*Pong) Type() string { return "pong" }

// Type implements Message.
func (*Challenge) Type() string { return "challenge" }

// Type implements Message.
func (*Line) Type() string { return "line" }

// Type implements Message.
func (*Refused) Type() string { return "refused" }

// Type implements Message.
func (*Waiting) Type() string { return "waiting" }

// Type implements Message.
func (*Admitted) Type() string { return "admitted" }

// Type implements Message.
func (*Entered) Type() string { return "entered" }

// Type implements Message.
func (*Stale) Type() string { return "stale" }

// Type implements Message.
func (*MediaReady) Type() string { return "media_ready" }

// Type implements Message.
func (*Roster) Type() string { return "roster" }

// Type implements Message.
func (*Slots) Type() string { return "slots" }

// Type implements Message.
func (*Passes) Type() string { return "passes" }

// Type implements Message.
func (*Ended) Type() string { return "ended" }

// Type implements Message.
func (*Failed) Type() string { return "failed" }

// Type implements Message.
func (*Facts) Type() string { return "facts" }

// Type implements Message.
func (*Raise) Type() string { return "raise" }

// Type implements Message.
func (*Pause) Type() string { return "pause" }

// Type implements Message.
func (*Preside) Type() string { return "preside" }

// Type implements Message.
func (*Except) Type() string { return "except" }

// Type implements Message.
func (*Confirm) Type() string { return "confirm" }

// Type implements Message.
func (*Read) Type() string { return "read" }

// Type implements Message.
func (*Mission) Type() string { return "mission" }

// Type implements Message.
func (*Probe) Type() string { return "probe" }

// Type implements Message.
func (*Probing) Type() string { return "probing" }

// Type implements Message.
func (*Probed) Type() string { return "probed" }

// Type implements Message.
func (*Consistency) Type() string { return "consistency" }

// Type implements Message.
func (*Ledger) Type() string { return "ledger" }

// Type implements Message.
func (*Mark) Type() string { return "mark" }

// Type implements Message.
func (*Ring) Type() string { return "ring" }

// Type implements Message.
func (*Quarantined) Type() string { return "quarantined" }

// Type implements Message.
func (*Changed) Type() string { return "changed" }

// Type implements Message.
func (*Readiness) Type() string { return "readiness" }

// Type implements Message.
func (*ConsistencyProof) Type() string { return "consistency_proof" }

// Type implements Message.
func (*Notice) Type() string { return "notice" }

// Type implements Message.
func (*Restated) Type() string { return "restated" }

// Type implements Message.
func (*Absent) Type() string { return "absent" }

func (*Enter) large()  {}
func (*Commit) large() {}

// messages makes an empty message of each type that a side may send.
var messages = [4]map[string]func() Message{
	FromClient: {
		"hello":       func() Message { return new(Hello) },
		"join":        func() Message { return new(Join) },
		"enter":       func() Message { return new(Enter) },
		"commit":      func() Message { return new(Commit) },
		"proposal":    func() Message { return new(Proposal) },
		"media":       func() Message { return new(Media) },
		"state":       func() Message { return new(State) },
		"renew":       func() Message { return new(Renew) },
		"restate":     func() Message { return new(Restate) },
		"decide":      func() Message { return new(Decide) },
		"remove":      func() Message { return new(Remove) },
		"leave":       func() Message { return new(Leave) },
		"ping":        func() Message { return new(Ping) },
		"pong":        func() Message { return new(Pong) },
		"facts":       func() Message { return new(Facts) },
		"raise":       func() Message { return new(Raise) },
		"pause":       func() Message { return new(Pause) },
		"preside":     func() Message { return new(Preside) },
		"except":      func() Message { return new(Except) },
		"confirm":     func() Message { return new(Confirm) },
		"read":        func() Message { return new(Read) },
		"mission":     func() Message { return new(Mission) },
		"probe":       func() Message { return new(Probe) },
		"consistency": func() Message { return new(Consistency) },
		"ledger":      func() Message { return new(Ledger) },
		"mark":        func() Message { return new(Mark) },
		"ring":        func() Message { return new(Ring) },
	},
	FromServer: {
		"challenge":         func() Message { return new(Challenge) },
		"line":              func() Message { return new(Line) },
		"facts":             func() Message { return new(Facts) },
		"refused":           func() Message { return new(Refused) },
		"waiting":           func() Message { return new(Waiting) },
		"admitted":          func() Message { return new(Admitted) },
		"entered":           func() Message { return new(Entered) },
		"stale":             func() Message { return new(Stale) },
		"commit":            func() Message { return new(Commit) },
		"proposal":          func() Message { return new(Proposal) },
		"media_ready":       func() Message { return new(MediaReady) },
		"roster":            func() Message { return new(Roster) },
		"absent":            func() Message { return new(Absent) },
		"slots":             func() Message { return new(Slots) },
		"passes":            func() Message { return new(Passes) },
		"ended":             func() Message { return new(Ended) },
		"failed":            func() Message { return new(Failed) },
		"quarantined":       func() Message { return new(Quarantined) },
		"changed":           func() Message { return new(Changed) },
		"readiness":         func() Message { return new(Readiness) },
		"probing":           func() Message { return new(Probing) },
		"probed":            func() Message { return new(Probed) },
		"consistency_proof": func() Message { return new(ConsistencyProof) },
		"notice":            func() Message { return new(Notice) },
		"restated":          func() Message { return new(Restated) },
		"ping":              func() Message { return new(Ping) },
		"pong":              func() Message { return new(Pong) },
	},
	FromGateway: gatewayMessages,
	ToGateway:   serverMessages,
}
