package mls

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Limits of the decoder. RFC 9420 permits vectors up to 2^30-1 bytes everywhere; no honest peer comes near these.
const (
	// MaxMessageSize is the largest encoding that Unmarshal accepts, in bytes. A ratchet tree of 4,096 members with
	// post-quantum keys takes about 11 MB.
	MaxMessageSize = 16 << 20

	maxOpaque = 1 << 20  // any byte string that is not a container of other structs, e.g. application data
	maxSmall  = 64 << 10 // identifiers, keys, signatures, hashes, credentials' parts
	maxCodes  = 256      // entries of a list of 16-bit code points, or of PSKs
	maxList   = 1 << 16  // entries of a list of structs
)

var (
	errTruncated    = errors.New("truncated")
	errTrailing     = errors.New("trailing bytes")
	errVarint       = errors.New("vector length is not minimal, or has the reserved prefix")
	errTooLong      = errors.New("vector is too long")
	errTooMany      = errors.New("too many entries")
	errOddVector    = errors.New("vector ends inside an entry")
	errOptional     = errors.New("presence octet is neither 0 nor 1")
	errUnknownValue = errors.New("unknown enumeration value")
)

// Marshaler is a value with an encoding in the TLS presentation language of RFC 9420, Section 2.1.
type Marshaler interface {
	MarshalMLS(w *Writer)
}

// Unmarshaler is a pointer to a value that can be read from its encoding. UnmarshalMLS reports errors through
// Reader.Fail and leaves the value undefined then.
type Unmarshaler interface {
	UnmarshalMLS(r *Reader)
}

// Marshal returns the encoding of x in a new slice.
func Marshal(x Marshaler) []byte {
	var w Writer
	x.MarshalMLS(&w)
	return w.buf
}

// Unmarshal decodes the whole of b into x. It fails on truncated, oversized, non-canonical and trailing bytes. x does
// not refer to b afterwards.
func Unmarshal(b []byte, x Unmarshaler) error {
	if len(b) > MaxMessageSize {
		return fmt.Errorf("mls: decode: %w", errTooLong)
	}
	return UnmarshalShared(append([]byte(nil), b...), x)
}

// UnmarshalShared is Unmarshal without the copy: byte slices of x lie inside b, which nobody may write to from then on.
func UnmarshalShared(b []byte, x Unmarshaler) error {
	if len(b) > MaxMessageSize {
		return fmt.Errorf("mls: decode: %w", errTooLong)
	}
	r := NewReader(b)
	x.UnmarshalMLS(r)
	if err := r.Finish(); err != nil {
		return fmt.Errorf("mls: decode: %w", err)
	}
	return nil
}

// Writer appends encodings to a buffer. Its zero value is ready.
type Writer struct {
	buf []byte
}

// NewWriter returns a Writer with room for capacity bytes.
func NewWriter(capacity int) *Writer { return &Writer{buf: make([]byte, 0, capacity)} }

// Bytes returns what was written. It is the Writer's own buffer.
func (w *Writer) Bytes() []byte { return w.buf }

// Reset empties the Writer and keeps its buffer.
func (w *Writer) Reset() { w.buf = w.buf[:0] }

// Uint8 writes one octet.
func (w *Writer) Uint8(v uint8) { w.buf = append(w.buf, v) }

// Uint16 writes two octets, the most significant first.
func (w *Writer) Uint16(v uint16) { w.buf = binary.BigEndian.AppendUint16(w.buf, v) }

// Uint32 writes four octets, the most significant first.
func (w *Writer) Uint32(v uint32) { w.buf = binary.BigEndian.AppendUint32(w.buf, v) }

// Uint64 writes eight octets, the most significant first.
func (w *Writer) Uint64(v uint64) { w.buf = binary.BigEndian.AppendUint64(w.buf, v) }

// Raw writes b without a length.
func (w *Writer) Raw(b []byte) { w.buf = append(w.buf, b...) }

// Opaque writes b as a variable-size vector.
func (w *Writer) Opaque(b []byte) {
	w.varint(len(b))
	w.buf = append(w.buf, b...)
}

// OpaqueString writes s as a variable-size vector.
func (w *Writer) OpaqueString(s string) {
	w.varint(len(s))
	w.buf = append(w.buf, s...)
}

// Optional writes the presence octet of an optional value.
func (w *Writer) Optional(present bool) {
	if present {
		w.Uint8(1)
	} else {
		w.Uint8(0)
	}
}

// Begin opens a variable-size vector whose length is not known yet; End with its result closes it.
func (w *Writer) Begin() (mark int) { return len(w.buf) }

// End closes the vector that Begin opened, by moving its body to make room for the length.
func (w *Writer) End(mark int) {
	n := len(w.buf) - mark
	w.varint(n)
	header := len(w.buf) - mark - n
	var h [4]byte
	copy(h[:], w.buf[mark+n:])
	copy(w.buf[mark+header:], w.buf[mark:mark+n])
	copy(w.buf[mark:], h[:header])
}

// varint writes the length header of Section 2.1.2. A longer vector is a contradiction of our own, hence the panic.
func (w *Writer) varint(n int) {
	switch {
	case n < 1<<6:
		w.buf = append(w.buf, byte(n))
	case n < 1<<14:
		w.buf = append(w.buf, 0x40|byte(n>>8), byte(n))
	case n < 1<<30:
		w.buf = append(w.buf, 0x80|byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	default:
		panic("mls: encode: vector over 2^30-1 bytes")
	}
}

// Reader takes encodings apart. The first error sticks: all reads after it return zero values, so that a decoder can
// read a whole struct and ask once. Slices it returns lie inside the slice it reads.
type Reader struct {
	data []byte
	pos  int
	end  int // of the innermost open vector
	err  error
}

// NewReader returns a Reader of b.
func NewReader(b []byte) *Reader { return &Reader{data: b, end: len(b)} }

// Err returns the first error.
func (r *Reader) Err() error { return r.err }

// Fail records err unless an earlier error stands.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// Finish returns the first error; bytes that are left over are one.
func (r *Reader) Finish() error {
	if r.err == nil && r.pos != r.end {
		r.err = errTrailing
	}
	return r.err
}

// More tells whether the innermost open vector (or the input) has bytes left, and no error stands.
func (r *Reader) More() bool { return r.err == nil && r.pos < r.end }

// Offset is the number of bytes read so far.
func (r *Reader) Offset() int { return r.pos }

// Raw reads n bytes.
func (r *Reader) Raw(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n < 0 || n > r.end-r.pos {
		r.err = errTruncated
		return nil
	}
	b := r.data[r.pos : r.pos+n : r.pos+n]
	r.pos += n
	return b
}

// Rest reads all that is left in the innermost open vector.
func (r *Reader) Rest() []byte {
	if r.err != nil {
		return nil
	}
	return r.Raw(r.end - r.pos)
}

// Uint8 reads one octet.
func (r *Reader) Uint8() uint8 {
	if b := r.Raw(1); b != nil {
		return b[0]
	}
	return 0
}

// Uint16 reads two octets.
func (r *Reader) Uint16() uint16 {
	if b := r.Raw(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// Uint32 reads four octets.
func (r *Reader) Uint32() uint32 {
	if b := r.Raw(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// Uint64 reads eight octets.
func (r *Reader) Uint64() uint64 {
	if b := r.Raw(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// Optional reads a presence octet.
func (r *Reader) Optional() bool {
	switch r.Uint8() {
	case 0:
		return false
	case 1:
		return true
	}
	r.Fail(errOptional)
	return false
}

// Opaque reads a variable-size vector of at most max bytes. An empty one is returned as an empty slice that is not nil.
func (r *Reader) Opaque(max int) []byte {
	n := r.varint()
	if n > max {
		r.Fail(errTooLong)
	}
	if r.err != nil {
		return nil
	}
	return r.Raw(n)
}

// Begin opens a variable-size vector of entries: reads stop at its end until End, which takes Begin's result.
func (r *Reader) Begin() (outer int) {
	outer = r.end
	n := r.varint()
	if n > r.end-r.pos {
		r.Fail(errTruncated)
	}
	if r.err == nil {
		r.end = r.pos + n
	}
	return outer
}

// End closes the vector that Begin opened; it must have been read to its end.
func (r *Reader) End(outer int) {
	if r.err == nil && r.pos != r.end {
		r.err = errOddVector
	}
	r.end = outer
}

// varint reads the length header of Section 2.1.2, which must be minimal.
func (r *Reader) varint() int {
	first := r.Uint8()
	v := int(first & 0x3f)
	switch first >> 6 {
	case 0:
		return v
	case 1:
		v = v<<8 | int(r.Uint8())
		if r.err == nil && v < 1<<6 {
			r.err = errVarint
		}
	case 2:
		rest := r.Raw(3)
		if rest == nil {
			return 0
		}
		v = v<<24 | int(rest[0])<<16 | int(rest[1])<<8 | int(rest[2])
		if v < 1<<14 {
			r.err = errVarint
		}
	default:
		r.Fail(errVarint)
	}
	if r.err != nil {
		return 0
	}
	return v
}

// code is any 16-bit code point: suites, extension types and the like.
type code interface{ ~uint16 }

func writeCodes[C code](w *Writer, codes []C) {
	w.varint(2 * len(codes))
	for _, c := range codes {
		w.Uint16(uint16(c))
	}
}

func readCodes[C code](r *Reader) []C {
	b := r.Opaque(2 * maxCodes)
	if len(b)%2 != 0 {
		r.Fail(errOddVector)
	}
	if r.err != nil || len(b) == 0 {
		return nil
	}
	codes := make([]C, len(b)/2)
	for i := range codes {
		codes[i] = C(binary.BigEndian.Uint16(b[2*i:]))
	}
	return codes
}
