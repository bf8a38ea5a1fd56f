package watermark_test

import (
	"context"
	"fmt"
	"testing"

	"conclave/watermark"
)

// BenchmarkSearch looks for 1 000 legs of ten minutes in clips without a mark, on one goroutine: what a search costs that finds
// nothing, which is the dear case.
func BenchmarkSearch(b *testing.B) {
	sound := speech(b, "fr", 60, watermark.Rate)
	suspects := legs(b, 1000, 600)
	for _, seconds := range []int{4, 5, 20, 60} {
		for _, wide := range []bool{false, true} {
			b.Run(fmt.Sprintf("%ds/wide=%t", seconds, wide), func(b *testing.B) {
				b.ReportAllocs()
				search := watermark.Search{Sync: syncOf(b, 1), Suspects: suspects, Wide: wide, Far: wide, Workers: 1}
				for b.Loop() {
					if _, err := search.Run(context.Background(), sound[:seconds*watermark.Rate]); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
