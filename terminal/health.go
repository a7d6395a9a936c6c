package terminal

import (
	"sort"
	"sync"
	"time"
)

// The named conditions of a machine's health.
const (
	HealthReader         = "reader"
	HealthHSM            = "hsm"
	HealthPSAM           = "psam" // only where there is, or was, or should be one
	HealthUpstream       = "upstream"
	HealthJournal        = "journal"
	HealthClock          = "clock"
	HealthOutbox         = "outbox"         // only where there is, or was, a dead letter
	HealthUnresolved     = "unresolved"     // only where a person had to decide a settlement of unknown outcome
	HealthReconciliation = "reconciliation" // only where a day did not balance
	HealthUnit           = "unit"           // only where there is a card unit
)

// health is the registry of conditions. A condition that was never set is not
// shown: nobody has looked yet.
type health struct {
	mu         sync.Mutex
	conditions map[string]Condition
	now        func() time.Time
	changed    func()
	recovered  func(name string) // of a condition that failed and holds again
}

// set records how a condition stands; nil is well. Since moves only when the
// failure's code changes, so that it says how long the trouble lasts.
func (h *health) set(name string, err error) {
	f := Explain(err)
	h.mu.Lock()
	old, known := h.conditions[name]
	same := known && old.OK == (f == nil) && (f == nil || old.Fault.Code == f.Code)
	if !same {
		h.conditions[name] = Condition{Name: name, OK: f == nil, Fault: f, Since: h.now()}
	}
	h.mu.Unlock()
	if !same {
		h.changed()
		if known && f == nil && h.recovered != nil {
			h.recovered(name)
		}
	}
}

// all returns the conditions by name.
func (h *health) all() []Condition {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]Condition, 0, len(h.conditions))
	for _, c := range h.conditions {
		list = append(list, c)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
}
