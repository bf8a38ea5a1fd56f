// Holders come together where files are. The browser's core does without this file, and without what locks one.

//go:build !js

package escrow

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// A holder's file is text, so that it can be printed, kept in an envelope and typed in again:
//
//	conclave-holder 1
//	organisation ministry.example
//	key 5f2c… (64 digits)
//	share 2 of 3, 2 open
//	holder Anna Weber
//	lock argon2id 3 65536 6c1f… (32 digits), or: lock none
//
//	base64 of the share: 32 bytes and 4 of checksum, or sealed with AES-256-GCM under the passphrase
//
// All above the empty line is bound to what is below, by the checksum or the tag.
const holderHead = "conclave-holder 1"

// MaxHolderFile bounds a holder's file in bytes.
const MaxHolderFile = 4 << 10

// Holder is what a holder's file says beside the share.
type Holder struct {
	Organisation string // 1 to 253 bytes, no control characters
	Name         string // of the person who keeps it; 0 to 128 bytes
	Share        *Share
}

// The cost of guessing a passphrase: argon2id with three passes over 64 MiB (RFC 9106, Section 4, second choice). A reader
// takes less or more within bounds.
const (
	lockPasses   = 3
	lockMemory   = 64 << 10 // KiB
	lockThreads  = 4
	lockSalt     = 16
	maxPasses    = 32
	minMemory    = 8 << 10
	maxMemory    = 1 << 20
	lockKeySize  = 32
	shareEncoded = SecretSize + 4
)

// Errors of ParseHolder.
var (
	// ErrLocked says that the file needs a passphrase and none was given.
	ErrLocked = errors.New("escrow: the holder's file is locked: its passphrase is needed")
	// ErrPassphrase says that the passphrase is wrong, or the file was changed.
	ErrPassphrase = errors.New("escrow: wrong passphrase, or the holder's file was changed")
	errHolder     = errors.New("escrow: not a holder's file")
	errDamaged    = errors.New("escrow: the holder's file is damaged: its checksum does not fit")
	errHolderName = errors.New("escrow: a holder's organisation or name has control characters or is too long")
)

// Marshal returns the holder's file; with a passphrase it is locked. rand draws the salt.
func (h *Holder) Marshal(passphrase []byte, rand io.Reader) ([]byte, error) {
	if !plain(h.Organisation, 253) || h.Organisation == "" || !plain(h.Name, 128) {
		return nil, errHolderName
	}
	var salt [lockSalt]byte
	lock := "none"
	if len(passphrase) > 0 {
		if _, err := io.ReadFull(rand, salt[:]); err != nil {
			return nil, fmt.Errorf("escrow: draw a salt: %w", err)
		}
		lock = fmt.Sprintf("argon2id %d %d %x", lockPasses, lockMemory, salt)
	}
	s := h.Share
	head := fmt.Sprintf("%s\norganisation %s\nkey %x\nshare %d of %d, %d open\nholder %s\nlock %s\n", holderHead, h.Organisation, s.Key,
		s.Number, s.Holders, s.Threshold, h.Name, lock)
	sum := s.sum([]byte(head))
	body := append(append(make([]byte, 0, shareEncoded+16), s.secret[:]...), sum[:]...)
	defer func() { clear(body) }()
	if len(passphrase) > 0 {
		aead, err := lockAEAD(passphrase, salt[:], lockPasses, lockMemory)
		if err != nil {
			return nil, err
		}
		// The salt makes the key good for one message.
		body = aead.Seal(body[:0], make([]byte, aead.NonceSize()), body, []byte(head))
	}
	return fmt.Appendf(nil, "%s\n%s\n", head, base64.StdEncoding.EncodeToString(body)), nil
}

// ParseHolder reads a holder's file. passphrase is asked where the file is locked and may be nil where it is not; ErrLocked
// where it is needed.
func ParseHolder(file, passphrase []byte) (*Holder, error) {
	if len(file) > MaxHolderFile || !utf8.Valid(file) {
		return nil, errHolder
	}
	// What went through mail or an editor has other line ends.
	text := string(bytes.ReplaceAll(file, []byte("\r\n"), []byte("\n")))
	head, encoded, ok := strings.Cut(text, "\n\n")
	head += "\n"
	lines := strings.Split(head, "\n")
	if !ok || len(lines) != 7 || lines[0] != holderHead {
		return nil, errHolder
	}
	value := func(i int, word string) string {
		v, found := strings.CutPrefix(lines[i], word+" ")
		ok = ok && found
		return v
	}
	h := &Holder{Organisation: value(1, "organisation"), Share: new(Share)}
	key, share := value(2, "key"), value(3, "share")
	h.Name = value(4, "holder")
	lock := value(5, "lock")
	if !ok || h.Organisation == "" || !plain(h.Organisation, 253) || !plain(h.Name, 128) {
		return nil, errHolder
	}
	s := h.Share
	if b, err := hex.DecodeString(key); err != nil || copy(s.Key[:], b) != len(s.Key) || len(b) != len(s.Key) {
		return nil, errHolder
	}
	if _, err := fmt.Sscanf(share, "%d of %d, %d open", &s.Number, &s.Holders, &s.Threshold); err != nil ||
		share != fmt.Sprintf("%d of %d, %d open", s.Number, s.Holders, s.Threshold) ||
		s.Number < 1 || s.Number > s.Holders || s.Holders > MaxHolders || s.Threshold < 1 || s.Threshold > s.Holders {
		return nil, errHolder
	}
	body, err := base64.StdEncoding.Strict().DecodeString(strings.Join(strings.Fields(encoded), ""))
	if err != nil {
		return nil, errHolder
	}
	defer clear(body)
	if lock != "none" {
		if body, err = unlock(lock, []byte(head), body, passphrase); err != nil {
			return nil, err
		}
	}
	if len(body) != shareEncoded {
		return nil, errHolder
	}
	copy(s.secret[:], body)
	if sum := s.sum([]byte(head)); !same(sum[:], body[SecretSize:]) {
		return nil, errDamaged
	}
	return h, nil
}

func unlock(lock string, head, body, passphrase []byte) ([]byte, error) {
	var passes, memory uint32
	var digits string
	if _, err := fmt.Sscanf(lock, "argon2id %d %d %s", &passes, &memory, &digits); err != nil ||
		passes < 1 || passes > maxPasses || memory < minMemory || memory > maxMemory {
		return nil, errHolder
	}
	salt, err := hex.DecodeString(digits)
	if err != nil || len(salt) != lockSalt || len(body) != shareEncoded+16 {
		return nil, errHolder
	}
	if len(passphrase) == 0 {
		return nil, ErrLocked
	}
	aead, err := lockAEAD(passphrase, salt, passes, memory)
	if err != nil {
		return nil, err
	}
	opened, err := aead.Open(nil, make([]byte, aead.NonceSize()), body, head)
	if err != nil {
		return nil, ErrPassphrase
	}
	return opened, nil
}

func lockAEAD(passphrase, salt []byte, passes, memory uint32) (cipher.AEAD, error) {
	key := argon2.IDKey(passphrase, salt, passes, memory, lockThreads, lockKeySize)
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("escrow: %v", err)
	}
	return cipher.NewGCM(block)
}

// plain says whether text may stand on a line of a holder's file.
func plain(text string, limit int) bool {
	return len(text) <= limit && utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}
