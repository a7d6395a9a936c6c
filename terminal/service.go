// Package terminal is the service behind the desks: it watches the readers,
// reads the card that is put in, keeps the visit that is under way and settles
// it, and publishes what is (readers, card, visit, health, journal) on every
// change. Pages and programs read that state and call commands; they keep
// nothing of their own.
//
// One goroutine per slot owns the card session ([Service.Run] starts and ends
// them all). A visit belongs to the service and is kept in the journal's
// database, so that it survives a crash of the daemon.
//
// What identifies a person is masked in the state; [Service.Identity] alone
// gives it in clear, and writes that to the audit log.
package terminal

import (
	"context"
	"errors"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"onecard/card"
	"onecard/reader"
	"onecard/reader/pinpad"
	"onecard/settlement"
)

// Parts are what a service is made of. Drivers, Pad, Log and Now are needed;
// without Keys no card is authenticated, without Upstream and Journal nothing
// is settled (a tool that reads a card by itself has neither).
type Parts struct {
	Drivers []reader.Driver
	Keys    card.KeyHolder
	// KeysCheck asks whether the key holder answers and whether it holds test
	// keys; nil where Keys is nil.
	KeysCheck func(context.Context) (testKeys bool, err error)
	Pad       pinpad.Pad
	Upstream  *settlement.Client
	Journal   *settlement.Journal
	// Plans and Debits keep what is begun on cards; TerminalSequence draws the
	// number of a purchase. Without them no card is written.
	Plans            card.PlanStore
	Debits           card.DebitJournal
	TerminalSequence func(ctx context.Context, terminal string) (uint32, error)
	Prices           []PriceItem
	// CardOptions open every card: the issuer's profile. See [LoadProfile].
	CardOptions []card.Option
	Log         *logrus.Logger
	Now         func() time.Time
	Version     string
	// Simulated is set where a simulator takes part by configuration.
	Simulated bool
	// Offline is how the region is told of off-line debits; without it there are
	// none.
	Offline *settlement.OfflineUpload
}

// A Service is one desk computer. Its methods may be called by any goroutine
// while [Service.Run] runs.
type Service struct {
	cfg     Config
	parts   Parts
	watcher *reader.Watcher
	pub     *publisher
	health  *health
	visits  *visits
	outbox  outbox
	// resolver finds out about entries of unknown outcome; nil without journal or
	// centre.
	resolver *settlement.Resolver
	books    *books

	catalogue  *settlement.Catalogue // the words of codes
	turnedAway atomic.Bool           // the gateway refused our credentials

	mu       sync.Mutex
	desks    []*desk // in order of appearance
	nextDesk int
	looked   map[reader.Driver]bool // drivers that have told what there is
	testKeys bool
	sams     []*heldPSAM // in order of appearance
	day      DayCount
	unknown  UnknownState
	counted  counting
	serving  bool // Run has not ended: it will wait for running

	letters OutboxTotal // of the outbox, as last counted
	contact time.Time   // when it was last kept that the centre had answered

	running sync.WaitGroup

	restored      sync.Once
	restoreFailed error
}

// New puts a service together. It does nothing before [Service.Run].
func New(cfg Config, parts Parts) *Service {
	s := &Service{cfg: cfg, parts: parts, pub: newPublisher(), looked: make(map[reader.Driver]bool)}
	var err error
	if s.catalogue, err = settlement.NewCatalogue(); err != nil {
		// The tables are compiled in; without them codes are shown bare.
		parts.Log.WithError(err).Error("the national dictionaries cannot be read")
	}
	if parts.Upstream != nil {
		// It knows the region's codes, too.
		s.catalogue = parts.Upstream.Catalogue()
	}
	s.watcher = reader.NewWatcher(parts.Drivers, reader.WithClock(parts.Now))
	s.health = &health{conditions: make(map[string]Condition), now: parts.Now, changed: s.pub.changed}
	s.visits = newVisits(s)
	s.outbox = newOutbox(s)
	if s.outbox.box != nil && parts.Debits != nil {
		s.parts.Debits = offlineDebits{DebitJournal: parts.Debits, s: s}
	}
	s.resolver = newResolver(s)
	s.books = newBooks(s)
	s.health.recovered = func(name string) {
		if name == HealthUpstream {
			s.lineBack()
			s.booksBack()
		}
	}
	return s
}

// Restore brings back the visits of an earlier run, once. Whoever lets others
// call the service before [Service.Run] does it first: a visit must not be begun
// on while it is being brought back.
func (s *Service) Restore(ctx context.Context) error {
	s.restored.Do(func() { s.restoreFailed = s.visits.restore(ctx) })
	return s.restoreFailed
}

// Run serves the readers until ctx ends and everything it started has ended.
func (s *Service) Run(ctx context.Context) error {
	if err := s.Restore(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	s.mu.Lock()
	s.serving = true
	s.mu.Unlock()
	var wg sync.WaitGroup
	var failed error
	wg.Go(func() { failed = s.watcher.Run(ctx) })
	wg.Go(func() {
		for e := range s.watcher.Subscribe(ctx) {
			s.reconcile(ctx)
			// Only now: what else changes meanwhile, such as the health of the
			// keys, must not show a look without its readers.
			s.mu.Lock()
			first := !s.looked[e.Driver]
			s.looked[e.Driver] = true
			s.mu.Unlock()
			if first {
				s.pub.changed()
			}
		}
	})
	if s.hasUnits() {
		wg.Go(func() { s.tendUnits(ctx) })
	}
	if s.parts.KeysCheck != nil {
		wg.Go(func() { s.repeat(ctx, s.checkKeys) })
	}
	if s.parts.Upstream != nil {
		wg.Go(func() { s.repeat(ctx, s.checkUpstream) })
	}
	if s.parts.Journal != nil {
		wg.Go(func() { s.repeat(ctx, s.checkJournal) })
	}
	if s.resolver != nil {
		wg.Go(func() { s.runResolver(ctx) })
	}
	if s.outbox.post != nil {
		wg.Go(func() { s.runOutbox(ctx) })
	}
	if s.parts.Journal != nil {
		wg.Go(func() { s.retain(ctx) })
	}
	if s.books.reconciler != nil {
		wg.Go(func() { s.runBooks(ctx) })
	}
	<-ctx.Done()
	wg.Wait()
	s.mu.Lock()
	s.serving = false
	s.mu.Unlock()
	s.running.Wait()
	return failed
}

// afterwards does what a caller need not wait for. Run does not end before it is
// done; where Run has ended, and calls are still being finished, it is done at
// once.
func (s *Service) afterwards(do func()) {
	s.mu.Lock()
	if !s.serving {
		s.mu.Unlock()
		do()
		return
	}
	s.running.Go(do)
	s.mu.Unlock()
}

// How often the health of what lies outside is looked at: a trouble more often,
// so that a desk knows soon that it is over.
const (
	checkInterval   = 15 * time.Second
	troubleInterval = 2 * time.Second
)

// repeat runs a check at once and then again and again until ctx ends.
func (s *Service) repeat(ctx context.Context, check func(context.Context) (well bool)) {
	for {
		pause := checkInterval
		if !check(ctx) {
			pause = troubleInterval
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// configured is what the configuration says of a slot; nil where no [[reader]] names
// it.
func (s *Service) configured(slot reader.SlotState) *ReaderConfig {
	for i := range s.cfg.Readers {
		r := &s.cfg.Readers[i]
		if r.Kind != slot.Kind {
			continue
		}
		if wildcard(r.Match, slot.Slot) && (r.Serial == "" || strings.Contains(slot.Slot, "("+r.Serial+")")) {
			return r
		}
	}
	return nil
}

// role is what the configuration says a slot is for; empty for a slot that no
// [[reader]] names.
func (s *Service) role(slot reader.SlotState) string {
	r := s.configured(slot)
	switch {
	case r == nil:
		return ""
	case r.Role == RoleUser && samSlot(slot.Slot):
		return RoleAuto // what is said of a card unit is said of its cards
	}
	return r.Role
}

// reconcile brings the desks into line with the slots there are.
func (s *Service) reconcile(ctx context.Context) {
	slots := s.watcher.Slots()
	present := make(map[string]reader.SlotState)
	users := 0
	for _, slot := range slots {
		switch role := s.role(slot); role {
		case RoleAuto, RoleUser, RoleContactless, RolePSAM:
			present[slot.Kind+"\x00"+slot.Slot] = slot
			if role != RolePSAM {
				users++
			}
		}
	}
	s.mu.Lock()
	known := make(map[string]*desk)
	for _, d := range s.desks {
		known[d.key()] = d
	}
	names := make([]string, 0, len(present))
	for key := range present {
		names = append(names, key)
	}
	sort.Strings(names)
	for _, key := range names {
		if known[key] != nil || ctx.Err() != nil {
			continue
		}
		s.nextDesk++
		d := newDesk(s, "r"+strconv.Itoa(s.nextDesk), present[key], s.role(present[key]))
		s.desks = append(s.desks, d)
		known[key] = d
		s.running.Go(func() { d.run(ctx) })
	}
	s.mu.Unlock()
	for key, d := range known {
		slot, there := present[key]
		if !there {
			slot = reader.SlotState{Slot: d.slot.Slot, Kind: d.slot.Kind}
		}
		d.saw(slot, there)
	}
	switch err := s.watcher.Err(); {
	case err != nil:
		s.health.set(HealthReader, err)
	case users == 0:
		s.health.set(HealthReader, reader.ErrNoReader)
	default:
		s.health.set(HealthReader, nil)
	}
	s.pub.changed()
}

// Subscribe returns a channel that holds a token while the state has changed
// since it was last received, and the function that ends the subscription.
func (s *Service) Subscribe() (<-chan struct{}, func()) { return s.pub.subscribe() }

// State returns everything a page shows.
func (s *Service) State() State {
	s.mu.Lock()
	desks := append([]*desk(nil), s.desks...)
	day := s.day
	simulated := s.parts.Simulated || s.testKeys
	letters := s.letters
	s.mu.Unlock()
	state := State{
		Seq: s.pub.sequence(), Time: s.parts.Now(), Version: s.parts.Version,
		Simulated:   simulated,
		Institution: s.institution(), Operator: s.operator(), Rights: s.granted(), Counter: s.defaults(),
		Readers: []Reader{}, Visit: s.visits.current(), Journal: day, Unknown: s.unknownState(), Books: s.reconcileState(), Outbox: letters,
	}
	for _, d := range desks {
		if view, there := d.published(); there {
			state.Readers = append(state.Readers, view)
		}
	}
	// After the readers: what made a card readable is never shown as missing
	// beside it.
	state.Health = s.health.all()
	return state
}

func (s *Service) institution() Institution {
	i := s.cfg.Institution
	return Institution{Code: i.Code, Name: i.Name, Area: i.Area}
}

func (s *Service) operator() Operator { return Operator{s.cfg.Operator.No, s.cfg.Operator.Name} }

func (s *Service) defaults() Defaults {
	c := s.cfg.Counter
	d := Defaults{
		Kind:       c.Kind,
		MedType:    s.coded("med_type", c.MedType),
		Department: Named{c.DepartmentCode, c.DepartmentName},
		Doctor:     Named{c.DoctorCode, c.DoctorName},
		Diagnoses:  []Named{},
	}
	if d.Kind == "" {
		d.Kind = KindOutpatient
	}
	if c.DiagnosisCode != "" {
		d.Diagnoses = append(d.Diagnoses, Named{c.DiagnosisCode, c.DiagnosisName})
	}
	return d
}

// AnyReader stands for a reader where the caller does not care which.
const AnyReader = "any"

// desk returns the desk of a reader; empty or "any" is the only one there is, or the
// first with a card that was read.
func (s *Service) desk(id string) (*desk, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var first *desk
	var best int
	for _, d := range s.desks {
		view, there := d.published()
		if !there {
			continue
		}
		if id != "" && id != AnyReader {
			if view.Role != RolePSAM && (d.id == id || view.Name == id) {
				return d, nil
			}
			continue
		}
		if view.Role == RolePSAM {
			continue
		}
		// Contact goes before contactless, and a card that was read before all.
		if rank := preference(view); first == nil || rank > best {
			first, best = d, rank
		}
	}
	switch {
	case first != nil:
		return first, nil
	case id != "" && id != AnyReader:
		return nil, ErrSlotUnknown
	}
	if err := s.watcher.Err(); err != nil {
		return nil, err
	}
	return nil, reader.ErrNoReader
}

// Looked waits until every driver has told what there is and the cards in the
// readers were read, well or not: for a tool that looks once. It returns the
// error of ctx or of the drivers, reader.ErrNoReader without a reader, and
// reader.ErrNoCard where none holds a card.
func (s *Service) Looked(ctx context.Context) error {
	news, end := s.Subscribe()
	defer end()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-news:
		}
		s.mu.Lock()
		all := len(s.looked) == len(s.parts.Drivers)
		desks := append([]*desk(nil), s.desks...)
		s.mu.Unlock()
		if !all {
			continue
		}
		if err := s.watcher.Err(); err != nil {
			return err
		}
		quiet, cards := true, 0
		for _, d := range desks {
			settled, present := d.quiet()
			quiet = quiet && settled
			if present {
				cards++
			}
		}
		switch {
		case !quiet:
		case len(desks) == 0:
			return reader.ErrNoReader
		case cards == 0:
			return reader.ErrNoCard
		default:
			return nil
		}
	}
}

// checkKeys asks the key holder and, when it is back, reads the cards again
// that could not be authenticated meanwhile.
func (s *Service) checkKeys(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	test, err := s.parts.KeysCheck(ctx)
	if errors.Is(err, context.Canceled) {
		return true
	}
	s.mu.Lock()
	changed := err == nil && s.testKeys != test
	if err == nil {
		s.testKeys = test
	}
	desks := append([]*desk(nil), s.desks...)
	s.mu.Unlock()
	s.health.set(HealthHSM, err)
	if changed {
		s.pub.changed()
	}
	if err == nil {
		for _, d := range desks {
			d.keysBack()
		}
	}
	return err == nil
}
