package sframe_test

import (
	"fmt"
	"time"

	"conclave/sframe"
)

// A member seals a picture, another opens it. The base key would come from the MLS exporter.
func Example() {
	baseKey := make([]byte, sframe.BaseKeySize)
	const epoch, leaf = 7, 2

	// Each start of a stream has a context of its own.
	sender, err := sframe.NewSender(baseKey, epoch, leaf, sframe.FirstContext, sframe.Camera)
	if err != nil {
		panic(err)
	}
	payload, err := sender.Seal(nil, sframe.VideoPrefix(true), []byte("a picture"))
	if err != nil {
		panic(err)
	}

	now := time.Now()
	ring := sframe.NewKeyring()
	if err := ring.Add(epoch, baseKey, []sframe.Leaf{0, 2, 5}, now); err != nil {
		panic(err)
	}
	prefix, sealed, keyFrame, _ := sframe.CutVideoPrefix(payload)
	picture, from, err := ring.Open(nil, sframe.Camera, prefix, sealed, now)
	fmt.Printf("%s, key frame %v, from leaf %d, %v\n", picture, keyFrame, from.Leaf, err)

	_, _, err = ring.Open(nil, sframe.Camera, prefix, sealed, now)
	fmt.Println(err)
	// Output:
	// a picture, key frame true, from leaf 2, <nil>
	// sframe: frame was opened before, or is too old to tell
}
