package terminal

import (
	"fmt"
	"slices"
	"strings"

	"onecard/fault"
)

// What the operator of a desk may be permitted to do. Looking is not a right:
// whoever may call the service may look.
const (
	RightSettle    = "settle"    // begin visits, settle them, give them up
	RightRefund    = "refund"    // take a settlement back
	RightResolve   = "resolve"   // decide what stayed unknown
	RightReconcile = "reconcile" // act on differences with the centre
	RightUnit      = "unit"      // capture cards, dispense new ones, empty the reject bin
)

var rights = []string{RightSettle, RightRefund, RightResolve, RightReconcile, RightUnit}

// ErrNotPermitted refuses what the desk's operator has no right to (OC-3011).
var ErrNotPermitted = fault.New(fault.NotPermitted, "not permitted to this operator")

// may returns nil where the desk's operator has the right, and otherwise
// [ErrNotPermitted] naming it.
func (s *Service) may(right string) error {
	if s.cfg.Operator.Rights == nil || slices.Contains(s.cfg.Operator.Rights, right) {
		return nil
	}
	s.parts.Log.WithFields(map[string]any{"audit": "refused: no right to " + right, "operator": s.cfg.Operator.No}).Warning("audit")
	return detailed{ErrNotPermitted, right}
}

// granted lists what the desk's operator may do, never nil.
func (s *Service) granted() []string {
	if s.cfg.Operator.Rights == nil {
		return slices.Clone(rights)
	}
	return append([]string{}, s.cfg.Operator.Rights...)
}

// checkRights refuses a right that does not exist: a misspelt one would be
// missed where it is needed.
func (o OperatorConfig) checkRights() error {
	for i, r := range o.Rights {
		if !slices.Contains(rights, r) {
			return fmt.Errorf("operator.rights[%d]: %s expected: %w", i, strings.Join(rights, ", "), ErrConfig)
		}
	}
	return nil
}
