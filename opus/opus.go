// Package opus turns sound into Opus frames and back, and reads and writes the sound files that a headless endpoint plays
// and records. It is for whoever sends or receives native media; the browser has its own Opus.
//
// It does one shape only, the one that all of Conclave sends: 48 kHz, mono, 20 ms, constant bit rate, no discontinuous
// transmission, so that every frame has the same size whether somebody speaks or not. The encoder is libopus 1.3.1 as
// WebAssembly (no cgo; see libopus/NOTICE); the decoder, which meets other people's bytes, is memory-safe Go.
//
// Sources: RFC 6716 (Opus), RFC 7845 (Ogg encapsulation), RFC 3533 (Ogg), RIFF/WAVE as Microsoft documents it.
package opus

import "errors"

const (
	// SampleRate is the number of samples in a second, before encoding and after decoding.
	SampleRate = 48000
	// FrameSamples is the number of samples in one frame of 20 ms.
	FrameSamples = SampleRate / 50
	// FrameBytes is the size of every encoded frame at DefaultBitrate.
	FrameBytes = DefaultBitrate / 50 / 8
	// DefaultBitrate, in bits a second, is what all endpoints of a room send: sizes must not tell them apart.
	DefaultBitrate = 32000
)

// ErrFile is wrapped by every error that blames the content of a sound file.
var ErrFile = errors.New("opus: malformed sound file")
