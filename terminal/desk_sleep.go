package terminal

import (
	"context"
	"time"
)

const (
	// beatInterval is how often a desk that has nothing to do sees that it is awake,
	// sleepTime how much longer it must have taken to have slept.
	beatInterval = time.Second
	sleepTime    = 5 * time.Second
)

// slept reads the card anew after the machine, or this program, has slept: the reader
// has lost its power or nobody looked at it, and whoever took the card out may have put
// another in. What is held is somebody's, and perhaps no longer the one's before the
// reader.
func (d *desk) slept(ctx context.Context, waited time.Duration) {
	if d.held == nil || waited < beatInterval+sleepTime {
		return
	}
	d.svc.parts.Log.WithField("reader", d.id).WithField("seconds", int(waited.Seconds())).Info("nobody looked at the card for long: it is read anew")
	d.drop()
	d.tried = 0
	d.look(ctx)
}
