package network

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
)

// writeDatabase makes a database in the MaxMind DB format 2.0 with 32-bit records over IPv6, one record for each prefix. Its
// values may be strings, uint32, bool and maps of them: enough for the databases of operators and anonymisers that are sold
// under licences which no test may carry.
func writeDatabase(t *testing.T, records map[string]map[string]any) []byte {
	t.Helper()
	type node struct{ left, right, data int } // data: offset+1 in the data section
	tree := []node{{}}
	var data []byte
	for text, record := range records {
		p := netip.MustParsePrefix(text)
		bytes, bits := p.Addr().As16(), p.Bits()
		if p.Addr().Is4() { // IPv4 lies at ::/96 in such files
			bits += 96
			copy(bytes[:12], make([]byte, 12))
		}
		offset := len(data)
		data = append(data, encode(t, record)...)
		at := 0
		for i := range bits {
			right := bytes[i/8]>>(7-i%8)&1 == 1
			next := tree[at].left
			if right {
				next = tree[at].right
			}
			if next == 0 {
				next = len(tree)
				tree = append(tree, node{})
				if right {
					tree[at].right = next
				} else {
					tree[at].left = next
				}
			}
			at = next
		}
		tree[at].data = offset + 1
	}
	// Leaves are no nodes of the file: number what is left.
	number := map[int]int{}
	for i, n := range tree {
		if n.data == 0 {
			number[i] = len(number)
		}
	}
	count := len(number)
	var out []byte
	record := func(child int) uint32 {
		if child == 0 {
			return uint32(count)
		}
		if d := tree[child].data; d > 0 {
			return uint32(count + 16 + d - 1)
		}
		return uint32(number[child])
	}
	for _, n := range tree {
		if n.data == 0 {
			out = binary.BigEndian.AppendUint32(out, record(n.left))
			out = binary.BigEndian.AppendUint32(out, record(n.right))
		}
	}
	out = append(append(out, make([]byte, 16)...), data...)
	out = append(out, "\xab\xcd\xefMaxMind.com"...)
	return append(out, encode(t, map[string]any{
		"node_count": uint32(count), "record_size": uint32(32), "ip_version": uint32(6), "database_type": "Test", "binary_format_major_version": uint32(2),
		"binary_format_minor_version": uint32(0), "build_epoch": uint32(1), "description": map[string]any{"en": "test"}, "languages": []any{"en"},
	})...)
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	switch v := v.(type) {
	case string:
		if len(v) >= 29 {
			t.Fatalf("%q is too long for this writer", v)
		}
		return append([]byte{2<<5 | byte(len(v))}, v...)
	case uint32:
		return append([]byte{6<<5 | 4}, binary.BigEndian.AppendUint32(nil, v)...)
	case bool:
		size := byte(0)
		if v {
			size = 1
		}
		return []byte{size, 14 - 7}
	case []any:
		out := []byte{byte(len(v)), 11 - 7}
		for _, e := range v {
			out = append(out, encode(t, e)...)
		}
		return out
	case map[string]any:
		out := []byte{7<<5 | byte(len(v))}
		var keys []string
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			out = append(append(out, encode(t, k)...), encode(t, v[k])...)
		}
		return out
	}
	t.Fatalf("%T", v)
	return nil
}
