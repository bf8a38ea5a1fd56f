package trace

import (
	"context"

	"conclave/watermark"
)

// Find searches a recording in the likeliest way to read it, and in its others where that names nobody. It returns what
// named somebody, else what shows most of the sync key, with all that was tried, and the way in which it was read. The bounds
// hold over all ways together.
func Find(ctx context.Context, search watermark.Search, r *Recording) (found *watermark.Result, way string, err error) {
	var tried watermark.Tried
	whole := search.Progress
	for n := range r.Ways() {
		sound, name, searches := r.Way(n)
		search.Searches = searches
		if whole != nil {
			search.Progress = func(share float64) { whole((float64(n) + share) / float64(r.Ways())) }
		}
		result, err := search.Run(ctx, sound)
		if err != nil {
			return nil, "", err
		}
		tried = sum(tried, result.Tried)
		if found == nil || len(result.Named) > 0 || result.SyncLogP < found.SyncLogP {
			found, way = result, name
		}
		if len(result.Named) > 0 {
			break
		}
	}
	found.Tried = tried
	if whole != nil {
		whole(1)
	}
	return found, way, nil
}

// sum is what two searches among the same legs tried.
func sum(a, b watermark.Tried) watermark.Tried {
	b.Windows += a.Windows
	b.Alignments += a.Alignments
	b.Followed += a.Followed
	b.Scores += a.Scores
	b.Positions = max(a.Positions, b.Positions)
	b.Wide, b.Far = a.Wide || b.Wide, a.Far || b.Far
	return b
}
