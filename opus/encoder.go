package opus

import (
	"context"
	_ "embed"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

//go:embed libopus/opus.wasm
var library []byte

// memoryPages bounds the memory of one encoder, in pages of 64 KiB. libopus needs 9, its stack of 256 KiB included.
const memoryPages = 32

// compiled holds the runtime with the module translated to machine code: 0.3 s, once in a process, at the first encoder.
var compiled = sync.OnceValues(func() (*compiledLibrary, error) {
	ctx := context.Background()
	runtime := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithMemoryLimitPages(memoryPages))
	module, err := runtime.CompileModule(ctx, library)
	if err != nil {
		return nil, fmt.Errorf("opus: compile libopus: %v", err)
	}
	return &compiledLibrary{runtime, module}, nil
})

type compiledLibrary struct {
	runtime wazero.Runtime
	module  wazero.CompiledModule
}

// Config says how to encode. The zero value is what all endpoints of a room use.
type Config struct {
	Bitrate    int // bits a second, 6000 to 128000 in steps of 400; 0 is DefaultBitrate
	Complexity int // 1 (fastest) to 10; 0 is 5
	// Transform encodes whatever is said by the transform alone (CELT), without speech's own model (SILK): at the room's bit rate it takes a
	// quarter of the time, and 4 ms less delay. For a process that encodes for many.
	Transform bool
}

// Encoder encodes one stream of sound at a constant bit rate. It is not safe for use by two goroutines at once. Each has
// about 0.6 MB of memory of its own until Close.
type Encoder struct {
	instance api.Module
	encode   api.Function
	memory   api.Memory
	pcm      uint32 // address of FrameSamples int16
	packet   uint32 // address of the frame
	size     int    // of each frame, in bytes
	stack    [1]uint64
}

// NewEncoder starts a stream.
func NewEncoder(c Config) (*Encoder, error) {
	if c.Bitrate == 0 {
		c.Bitrate = DefaultBitrate
	}
	if c.Complexity == 0 {
		c.Complexity = 5
	}
	if c.Bitrate < 6000 || c.Bitrate > 128000 || c.Bitrate%400 != 0 || c.Complexity < 1 || c.Complexity > 10 {
		return nil, fmt.Errorf("opus: no encoder with bit rate %d, complexity %d", c.Bitrate, c.Complexity)
	}
	lib, err := compiled()
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	// Without a name, so that there can be many instances in one runtime.
	instance, err := lib.runtime.InstantiateModule(ctx, lib.module, wazero.NewModuleConfig().WithName("").WithStartFunctions("_initialize"))
	if err != nil {
		return nil, fmt.Errorf("opus: start libopus: %v", err)
	}
	e := &Encoder{instance: instance, encode: instance.ExportedFunction("encode"), memory: instance.Memory(), size: c.Bitrate / 400}
	transform := uint64(0)
	if c.Transform {
		transform = 1
	}
	code, err := e.call("init", uint64(c.Bitrate), uint64(c.Complexity), transform)
	if err == nil && code != 0 {
		err = fmt.Errorf("libopus error %d", code)
	}
	for name, address := range map[string]*uint32{"pcm": &e.pcm, "packet": &e.packet} {
		var at int32
		if err == nil {
			at, err = e.call(name)
			*address = uint32(at)
		}
	}
	if err != nil {
		instance.Close(ctx)
		return nil, fmt.Errorf("opus: set up libopus: %v", err)
	}
	return e, nil
}

func (e *Encoder) call(name string, args ...uint64) (int32, error) {
	result, err := e.instance.ExportedFunction(name).Call(context.Background(), args...)
	if err != nil {
		return 0, err
	}
	return api.DecodeI32(result[0]), nil
}

// Size returns the size in bytes of each frame: 80 at DefaultBitrate.
func (e *Encoder) Size() int { return e.size }

// Encode appends the frame that encodes pcm, FrameSamples samples, to dst and returns the result. It reads pcm only
// during the call. An error means that the encoder is of no use any more.
func (e *Encoder) Encode(dst []byte, pcm []int16) ([]byte, error) {
	if len(pcm) != FrameSamples {
		return dst, fmt.Errorf("opus: encode %d samples, must be %d", len(pcm), FrameSamples)
	}
	samples, ok := e.memory.Read(e.pcm, 2*FrameSamples)
	if !ok {
		return dst, fmt.Errorf("opus: encoder is closed")
	}
	for i, s := range pcm {
		binary.LittleEndian.PutUint16(samples[2*i:], uint16(s))
	}
	if err := e.encode.CallWithStack(context.Background(), e.stack[:]); err != nil {
		return dst, fmt.Errorf("opus: encode: %v", err)
	}
	if n := api.DecodeI32(e.stack[0]); int(n) != e.size {
		return dst, fmt.Errorf("opus: encode: %d bytes or libopus error, must be %d", n, e.size)
	}
	frame, ok := e.memory.Read(e.packet, uint32(e.size))
	if !ok {
		return dst, fmt.Errorf("opus: encoder is closed")
	}
	return append(dst, frame...), nil
}

// Close frees the encoder's memory. It must not be used afterwards.
func (e *Encoder) Close() error { return e.instance.Close(context.Background()) }
