package settlement

import "context"

// Forget puts a report back as it was: what a crash does between an action and
// the note that it was done.
func (j *Journal) Forget(ctx context.Context, r Report) error { return j.updateReport(ctx, r) }
