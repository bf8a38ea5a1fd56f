package identity

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/argon2"

	"conclave"
	"conclave/audit"
	"conclave/store"
)

// A phone code is how a caller without a device is known: twelve digits, of which the first four find the entry and the last
// eight are the secret. It is bound to a person and a meeting and runs out. Only a salted slow hash of it is kept.

const (
	codeHandle = 4 // digits that find the entry
	codeSecret = 8 // digits that prove the right to it: one in 10^8 a try
	// CodeDigits is the length of a phone code.
	CodeDigits = codeHandle + codeSecret
	// DefaultCodeLife and MaxCodeLife: a code is read from a paper, or heard over a shoulder.
	DefaultCodeLife = 12 * time.Hour
	MaxCodeLife     = 7 * 24 * time.Hour
	// maxWrong is how often a code may be entered wrong before it is void, over all calls.
	maxWrong = 10
	// The hash: argon2id (RFC 9106, Section 4, the second recommended option) takes 64 MiB and about 0.1 s, so that whoever
	// has the store tries 10^8 codes in months, not minutes.
	codeHashTime    = 3
	codeHashMemory  = 64 << 10 // KiB
	codeHashThreads = 1
)

// PhoneCode is what a code stands for.
type PhoneCode struct {
	Person  conclave.PersonID
	Meeting conclave.MeetingID
	Expires time.Time
}

// storedCode is a code's entry.
type storedCode struct {
	Salt    []byte             `json:"salt"`
	Hash    []byte             `json:"hash"`
	Person  conclave.PersonID  `json:"person"`
	Meeting conclave.MeetingID `json:"meeting"`
	Expires time.Time          `json:"expires"`
	Wrong   int                `json:"wrong"`
}

const codePrefix = "phonecode"

func codeKey(handle string) store.Key { return codePrefix + "." + store.Key(handle) }

// hashing lets one hash be made at a time: each takes 64 MiB, and guessers shall wait for each other.
var hashing sync.Mutex

func hashCode(code string, salt []byte) []byte {
	hashing.Lock()
	defer hashing.Unlock()
	return argon2.IDKey([]byte(code), salt, codeHashTime, codeHashMemory, codeHashThreads, 32)
}

// ErrCode says that a code is not right: wrong, expired, or worn out by wrong tries. Which of them is told to nobody.
var ErrCode = errors.New("identity: no such phone code")

// IssuePhoneCode makes a code for a person who is invited to a meeting, void after life (0: DefaultCodeLife). A new code
// does not take back an older one.
func (d *Directory) IssuePhoneCode(ctx context.Context, person conclave.PersonID, meeting conclave.MeetingID, life time.Duration, random io.Reader, now time.Time) (string, PhoneCode, error) {
	if life == 0 {
		life = DefaultCodeLife
	}
	c := PhoneCode{Person: person, Meeting: meeting, Expires: now.Add(life).UTC()}
	if life < time.Minute || life > MaxCodeLife {
		return "", c, problem("code_life", "choose_shorter_time")
	}
	if _, err := d.active(ctx, person); err != nil {
		return "", c, err
	}
	m, err := d.Meeting(ctx, meeting)
	switch {
	case err != nil:
		return "", c, err
	case m.Ended != nil:
		return "", c, problem("meeting_over", "ask_chair_for_meeting")
	case !m.Invited(person):
		return "", c, problem("not_invited", "ask_chair")
	}
	if err := d.sweepCodes(ctx, now); err != nil {
		return "", c, err
	}
	if _, err := d.record.Record(ctx, audit.Record{Kind: audit.KindLinkIssued, Time: now.UTC(), Meeting: meeting, Person: person, Codes: []string{"phone_code"}}); err != nil {
		return "", c, err
	}
	for range 20 { // of 10000 places some may be taken
		code, err := digits(random, CodeDigits)
		if err != nil {
			return "", c, fmt.Errorf("identity: draw a code: %w", err)
		}
		salt := make([]byte, 16)
		if _, err := io.ReadFull(random, salt); err != nil {
			return "", c, fmt.Errorf("identity: draw a code: %w", err)
		}
		b, err := json.Marshal(storedCode{Salt: salt, Hash: hashCode(code, salt), Person: person, Meeting: meeting, Expires: c.Expires})
		if err != nil {
			return "", c, fmt.Errorf("identity: %w", err)
		}
		_, err = d.store.Create(ctx, codeKey(code[:codeHandle]), b)
		if err == nil {
			return code, c, nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return "", c, fmt.Errorf("identity: %w", err)
		}
	}
	return "", c, problem("codes_exhausted", "wait_for_codes")
}

// digits draws n decimal digits, each with equal chance.
func digits(random io.Reader, n int) (string, error) {
	var b strings.Builder
	one := make([]byte, 1)
	for b.Len() < n {
		if _, err := io.ReadFull(random, one); err != nil {
			return "", err
		}
		if one[0] < 250 { // 256 is no multiple of ten
			b.WriteByte('0' + one[0]%10)
		}
	}
	return b.String(), nil
}

// PhoneCode returns what a code stands for, or ErrCode. It takes the same time whether there is such an entry or not, and
// counts wrong tries.
func (d *Directory) PhoneCode(ctx context.Context, code string, now time.Time) (PhoneCode, error) {
	var stored storedCode
	if len(code) != CodeDigits || strings.Trim(code, "0123456789") != "" {
		return PhoneCode{}, ErrCode
	}
	key := codeKey(code[:codeHandle])
	revision, err := d.get(ctx, key, &stored)
	known := err == nil
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return PhoneCode{}, err
	}
	if !known {
		stored.Salt, stored.Hash = decoy, nil
	}
	right := subtle.ConstantTimeCompare(hashCode(code, stored.Salt), stored.Hash) == 1
	switch {
	case !known, !now.Before(stored.Expires), stored.Wrong >= maxWrong:
		return PhoneCode{}, ErrCode
	case !right:
		stored.Wrong++
		b, err := json.Marshal(stored)
		if err != nil {
			return PhoneCode{}, fmt.Errorf("identity: %w", err)
		}
		// One that was counted by somebody else at this moment is not counted twice.
		if _, err := d.store.CompareAndPut(ctx, key, b, revision); err != nil && !errors.Is(err, store.ErrConflict) {
			return PhoneCode{}, fmt.Errorf("identity: %w", err)
		}
		return PhoneCode{}, ErrCode
	}
	return PhoneCode{Person: stored.Person, Meeting: stored.Meeting, Expires: stored.Expires}, nil
}

// decoy is the salt for codes that do not exist.
var decoy = func() []byte {
	b := make([]byte, 16)
	rand.Read(b)
	return b
}()

// PhoneCodes returns the codes that are good now, without their digits.
func (d *Directory) PhoneCodes(ctx context.Context, now time.Time) ([]PhoneCode, error) {
	entries, err := d.store.List(ctx, codePrefix)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	var out []PhoneCode
	for _, e := range entries {
		var stored storedCode
		if err := json.Unmarshal(e.Value, &stored); err != nil {
			return nil, fmt.Errorf("identity: a stored value cannot be read: %v", err)
		}
		if now.Before(stored.Expires) && stored.Wrong < maxWrong {
			out = append(out, PhoneCode{stored.Person, stored.Meeting, stored.Expires})
		}
	}
	return out, nil
}

// RevokePhoneCodes makes the codes of a person for a meeting void and says how many there were.
func (d *Directory) RevokePhoneCodes(ctx context.Context, person conclave.PersonID, meeting conclave.MeetingID, now time.Time) (int, error) {
	which := func(c *storedCode) bool { return c.Person == person && c.Meeting == meeting }
	n, err := d.countCodes(ctx, which)
	if err != nil || n == 0 {
		return 0, err
	}
	if _, err := d.record.Record(ctx, audit.Record{Kind: audit.KindCodesVoided, Time: now.UTC(), Meeting: meeting, Person: person, Size: uint64(n)}); err != nil {
		return 0, err
	}
	return d.deleteCodes(ctx, which)
}

// sweepCodes forgets codes that ran out.
func (d *Directory) sweepCodes(ctx context.Context, now time.Time) error {
	_, err := d.deleteCodes(ctx, func(c *storedCode) bool { return !now.Before(c.Expires) })
	return err
}

func (d *Directory) countCodes(ctx context.Context, which func(*storedCode) bool) (int, error) {
	return d.eachCode(ctx, which, func(store.Key) error { return nil })
}

func (d *Directory) deleteCodes(ctx context.Context, which func(*storedCode) bool) (int, error) {
	return d.eachCode(ctx, which, func(key store.Key) error { return d.store.Delete(ctx, key) })
}

// eachCode does something with the codes that match, and says how many there were.
func (d *Directory) eachCode(ctx context.Context, which func(*storedCode) bool, do func(store.Key) error) (int, error) {
	entries, err := d.store.List(ctx, codePrefix)
	if err != nil {
		return 0, fmt.Errorf("identity: %w", err)
	}
	n := 0
	for _, e := range entries {
		var stored storedCode
		if err := json.Unmarshal(e.Value, &stored); err != nil {
			return n, fmt.Errorf("identity: a stored value cannot be read: %v", err)
		}
		if !which(&stored) {
			continue
		}
		if err := do(e.Key); err != nil {
			return n, fmt.Errorf("identity: %w", err)
		}
		n++
	}
	return n, nil
}

// goodPhone takes what may stand as a person's phone: "", a number in E.164 form ("+4930…"), or a SIP address.
func goodPhone(s string) bool {
	if s == "" {
		return true
	}
	if len(s) > 128 {
		return false
	}
	if number, ok := strings.CutPrefix(s, "+"); ok {
		return len(number) >= 6 && len(number) <= 15 && strings.Trim(number, "0123456789") == ""
	}
	address, ok := strings.CutPrefix(s, "sip:")
	if !ok {
		if address, ok = strings.CutPrefix(s, "sips:"); !ok {
			return false
		}
	}
	user, host, ok := strings.Cut(address, "@")
	if !ok || user == "" || host == "" {
		return false
	}
	for _, r := range user + host {
		if !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("+.-_:[]", r)) {
			return false
		}
	}
	return true
}
