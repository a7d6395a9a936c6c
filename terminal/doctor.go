package terminal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"onecard/card"
	"onecard/fault"
	"onecard/reader"
	"onecard/settlement"
)

// ErrClock means that this machine and the insurance centre disagree on the
// time.
var ErrClock = fault.New(fault.ClockWrong, "clock wrong")

// clockTolerance is how far this machine's clock may be from the centre's. A
// gateway refuses signatures from half an hour on; a receipt should not be
// minutes off either.
const clockTolerance = 5 * time.Minute

// probeTime bounds one look at the insurance centre.
const probeTime = 5 * time.Second

// Doctor looks at everything that the desk needs and says in plain words what
// is wrong. It changes nothing and sends nothing that books.
func (s *Service) Doctor(ctx context.Context) []Check {
	check := func(name, zh, en string, err error) Check {
		return Check{Name: name, OK: err == nil, Text: Text{zh, en}, Fault: Explain(err)}
	}
	checks := []Check{check("pcsc", "读卡服务", "the smart-card service", s.watcher.Err())}
	if s.watcher.Err() == nil {
		checks = append(checks, s.doctorReaders(check)...)
	}
	checks = append(checks, s.doctorPorts(ctx, check)...)
	switch {
	case s.parts.KeysCheck == nil && s.keys() != nil: // a PSAM does without
	case s.parts.KeysCheck == nil:
		checks = append(checks, check("hsm", "密码机", "the HSM", card.ErrNoKeyHolder))
	default:
		kctx, cancel := context.WithTimeout(ctx, probeTime)
		_, err := s.parts.KeysCheck(kctx)
		cancel()
		checks = append(checks, check("hsm", "密码机", "the HSM", err))
	}
	skew, known, err := s.probeUpstream(ctx)
	if err == nil && s.turnedAway.Load() {
		err = settlement.ErrCredentials
	}
	checks = append(checks, check("upstream", "医保中心", "the insurance centre", err))
	switch {
	case !known:
	case skew.Abs() > clockTolerance:
		words := fmt.Sprintf("%+d s", int(skew.Seconds()))
		checks = append(checks, check("clock", "本机时间（与医保中心相比）", "this machine's clock, compared with the centre's", detailed{ErrClock, words}))
	default:
		checks = append(checks, check("clock", "本机时间（与医保中心相比）", "this machine's clock, compared with the centre's", nil))
	}
	if s.parts.Journal != nil {
		checks = append(checks, check("journal", "结算日志", "the journal", s.checkFile(ctx)))
		s.mu.Lock()
		unknown := s.day.UnknownTotal
		s.mu.Unlock()
		if unknown > 0 {
			checks = append(checks, check("unknown", "结果未知的结算", "settlements with unknown outcome", detailed{ErrUnresolved, s.unknownDetail(unknown)}))
		}
	}
	return checks
}

func (s *Service) doctorReaders(check func(name, zh, en string, err error) Check) []Check {
	state := s.State()
	if len(state.Readers) == 0 {
		return []Check{check("reader", "读卡器", "the card reader", reader.ErrNoReader)}
	}
	// One card is enough: a second reader may well be empty.
	empty := !slices.ContainsFunc(state.Readers, func(r Reader) bool { return r.State != ReaderEmpty && r.Role != RolePSAM })
	var checks []Check
	for _, r := range state.Readers {
		var err error
		switch r.State {
		case ReaderEmpty:
			if r.Role == RolePSAM {
				if s.role(reader.SlotState{Slot: r.Name, Kind: r.Kind}) != RolePSAM {
					continue // a place for one, where none is needed
				}
				err = card.ErrNoPSAM
			} else if empty {
				err = reader.ErrNoCard
			}
		case ReaderReady, ReaderReading:
		default:
			if r.Fault != nil {
				err = &publishedFault{*r.Fault}
			}
		}
		checks = append(checks, check("reader "+r.ID, "读卡器 "+r.Name, "reader "+r.Name, err))
	}
	units := make(map[string]bool)
	for _, d := range s.unitDesks() {
		u := d.unit()
		if u == nil || units[u.Name] {
			continue
		}
		units[u.Name] = true
		checks = append(checks, check("unit "+d.id, "卡片传输机构 "+u.Name, "card unit "+strings.TrimPrefix(u.Name, "card unit "), unitHealth(u)))
	}
	return checks
}

// probeUpstream asks whether anything speaks HTTP at the centre's address, and
// what time it is there. Any HTTP answer will do: without a transaction there
// is nothing that a centre must answer well.
func (s *Service) probeUpstream(ctx context.Context) (skew time.Duration, known bool, err error) {
	if s.parts.Upstream == nil {
		return 0, false, ErrNoUpstream
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.cfg.Upstream.URL, nil)
	if err != nil {
		return 0, false, fmt.Errorf("probe: %w", settlement.ErrUnreachable)
	}
	transport := &http.Transport{DisableKeepAlives: true, TLSHandshakeTimeout: probeTime}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return 0, false, err
		}
		return 0, false, fmt.Errorf("probe: %w", settlement.ErrUnreachable)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)); err != nil {
		s.parts.Log.WithError(err).Debug("probe: answer cut short")
	}
	there, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return 0, false, nil // a centre without a clock in its answers
	}
	return s.parts.Now().Sub(there), true, nil
}

// checkUpstream keeps the conditions upstream and clock.
func (s *Service) checkUpstream(ctx context.Context) bool {
	skew, known, err := s.probeUpstream(ctx)
	if errors.Is(err, context.Canceled) {
		return true
	}
	if err == nil && s.turnedAway.Load() {
		err = settlement.ErrCredentials
	}
	s.health.set(HealthUpstream, err)
	if err == nil {
		s.reached(ctx)
	}
	if !known {
		return err == nil
	}
	if skew.Abs() > clockTolerance {
		err = detailed{ErrClock, fmt.Sprintf("%+d s", int(skew.Seconds()))}
	}
	s.health.set(HealthClock, err)
	return err == nil
}
