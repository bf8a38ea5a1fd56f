package server

// changing says whether the level is being raised, or the policy changed: nobody comes in meanwhile.
func (r *room) changing() bool { return false }

// early says whether who asks has to wait for the meeting to start.
func (r *room) early(j *judgement) bool { return false }

// settled goes on with what waits for the group: it was called for after each epoch.
func (r *room) settled(chair bool) {}
