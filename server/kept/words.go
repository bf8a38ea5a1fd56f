package kept

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"conclave/store"
)

// What the store holds, in one list: for each word that opens keys whether it is anybody's, and how what is a person's is
// found. The store refuses words that do not stand here (Listed), so that a new one cannot be forgotten when a person is
// given all that is kept on them.

// kind is one kind of values of the store, or a stream of it.
type kind struct {
	word string
	// find adds what is a person's. nil: nothing under this word is about a person, as none says, or others give it: as elsewhere says.
	find            func(context.Context, *Archive, *question) ([]Item, error)
	none, elsewhere string
}

// kinds is the list.
var kinds = []kind{
	{word: "person", elsewhere: "GET /people/{person}"},
	{word: "device", find: guestDevices, elsewhere: "GET /people/{person}, but for guests, who stand in no directory"},
	{word: "meeting", elsewhere: "GET /meetings"},
	{word: "token", find: byPerson("token", "hash")},
	{word: "phonecode", find: byPerson("phonecode", "hash", "salt")},
	{word: "invitation", find: invitations},
	{word: "trip", find: byPerson("trip")},
	{word: "notice", find: notices},
	{word: "devicenotice", find: byDevice("devicenotice")},
	{word: "history", find: byDevice("history")},
	{word: ledgerPrefix, find: ledgersOf},
	{word: markPrefix, find: marksOf},
	{word: "room", find: inRoom("room")},
	{word: "group", find: inRoom("group")},
	{word: "pending", find: inRoom("pending")},
	{word: "commit", find: inRoom("commit")},
	{word: "gateway", none: "a device of the organisation's"},
	{word: "gatewaytoken", none: "a link for such a device"},
	{word: "devicelog", none: "a signature over the device log"},
	{word: "history-key", none: "a key of the server's"},
	{word: "keys", none: "a digest of the organisation's keys"},
	{word: "retention", none: "a setting"},
	{word: "ended", none: "how the server ended last"},
	{word: "audit", none: "a signature over the log, and numbers of records that are being erased"},
	{word: string(store.Audit), elsewhere: "the copy of the log"},
	{word: string(store.Devices), elsewhere: "the copy of the device log"},
}

// Personal are the words under which something is found of a person.
func Personal() (words []string) {
	for _, k := range kinds {
		if k.find != nil {
			words = append(words, k.word)
		}
	}
	return words
}

// Listed is a store that keeps only what stands in kinds.
type Listed struct{ store.Store }

func (l Listed) check(word string) error {
	word, _, _ = strings.Cut(word, ".")
	if !slices.ContainsFunc(kinds, func(k kind) bool { return k.word == word }) {
		return fmt.Errorf("kept: nothing says what %q holds of people: it is not kept", word)
	}
	return nil
}

func (l Listed) Create(ctx context.Context, key store.Key, value []byte) (store.Revision, error) {
	if err := l.check(string(key)); err != nil {
		return 0, err
	}
	return l.Store.Create(ctx, key, value)
}

func (l Listed) Put(ctx context.Context, key store.Key, value []byte) (store.Revision, error) {
	if err := l.check(string(key)); err != nil {
		return 0, err
	}
	return l.Store.Put(ctx, key, value)
}

func (l Listed) CompareAndPut(ctx context.Context, key store.Key, value []byte, revision store.Revision) (store.Revision, error) {
	if err := l.check(string(key)); err != nil {
		return 0, err
	}
	return l.Store.CompareAndPut(ctx, key, value, revision)
}

func (l Listed) Append(ctx context.Context, stream store.Stream, record []byte) (store.Sequence, error) {
	if err := l.check(string(stream)); err != nil {
		return 0, err
	}
	return l.Store.Append(ctx, stream, record)
}
