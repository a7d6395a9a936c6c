package terminal

import (
	"onecard/fault"
	"onecard/reader"
)

// absent says why there is no open card.
func (d *desk) absent() error {
	view, there := d.published()
	switch {
	case !there:
		return reader.ErrReaderGone
	case view.Fault != nil:
		return &publishedFault{*view.Fault}
	}
	return reader.ErrNoCard
}

// publishedFault is a failure that was explained before.
type publishedFault struct{ f Fault }

func (e *publishedFault) Error() string       { return e.f.Text.English }
func (e *publishedFault) Code() fault.Code    { return e.f.Code }
func (e *publishedFault) FaultDetail() string { return e.f.Detail }
func (e *publishedFault) Left() (int, bool) {
	if e.f.TriesLeft == nil {
		return 0, false
	}
	return *e.f.TriesLeft, true
}
