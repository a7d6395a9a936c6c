package terminal

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"onecard/settlement"
)

// An EntryDetail is an entry of the journal with everything that is kept of it.
type EntryDetail struct {
	Entry
	Message       string    `json:"message,omitempty"` // the centre's words
	Note          string    `json:"note,omitempty"`    // ours
	RequestSHA256 string    `json:"request_sha256"`
	Decision      *Decision `json:"decision,omitempty"` // where a person decided
	Inquiry       *Inquiry  `json:"inquiry,omitempty"`  // of an entry that was, or is, in doubt
	Personal      *Personal `json:"personal,omitempty"` // only where it was asked for
}

// Personal is the part of an entry that is encrypted on the disk.
type Personal struct {
	PsnNo   string `json:"psn_no"`
	Request string `json:"request"` // as sent
	Answer  string `json:"answer"`  // as received
}

// A Decision says who decided an entry of unknown outcome, and why.
type Decision struct {
	Who    string    `json:"who"`
	Reason string    `json:"reason"`
	Time   time.Time `json:"time"`
}

// Acknowledged in place of an outcome says that a person has seen to what a late
// answer contradicts; the entry itself is closed and stays as it is.
const Acknowledged = "acknowledged"

// ResolveRequest decides an entry of unknown outcome as a person found it to be
// at the centre.
type ResolveRequest struct {
	Outcome      string `json:"outcome"` // done, refused, or acknowledged
	Who          string `json:"who"`
	Reason       string `json:"reason"`
	SettlementID string `json:"settlement_id,omitempty"` // of done, like the amounts
	Total        string `json:"total,omitempty"`
	Fund         string `json:"fund,omitempty"`
	Account      string `json:"account,omitempty"`
	Cash         string `json:"cash,omitempty"`
}

// JournalExport is a part of a day's entries, the earliest first.
type JournalExport struct {
	Day     string        `json:"day"`
	Entries []EntryDetail `json:"entries"`
	Next    int64         `json:"next,omitempty"` // ask again after this entry; 0: that was all
}

// JournalVerification is what a journal was found to hold; one that was altered
// is a failure instead.
type JournalVerification struct {
	Entries int64  `json:"entries"`
	Links   int64  `json:"links"` // of the chain
	Hash    string `json:"hash"`  // of the last one
}

// JournalBackup is a copy of the journal that was written and verified.
type JournalBackup struct {
	JournalVerification
	File   string `json:"file"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // of the file
}

// exportPart is how many entries one call exports.
const exportPart = 200

// EntryContent returns an entry with the personal data it keeps. Every call is
// written to the audit log.
func (s *Service) EntryContent(ctx context.Context, id int64) (EntryDetail, error) {
	if s.parts.Journal == nil {
		return EntryDetail{}, ErrNoJournal
	}
	d, err := s.detail(ctx, id, true)
	if err != nil {
		return EntryDetail{}, err
	}
	s.auditJournal("journal entry shown", id)
	return d, nil
}

func (s *Service) detail(ctx context.Context, id int64, personal bool) (EntryDetail, error) {
	e, err := s.parts.Journal.Get(ctx, id)
	if err != nil {
		return EntryDetail{}, err
	}
	d := EntryDetail{Entry: entryDocument(e), Message: e.Message, Note: e.Note, RequestSHA256: hex.EncodeToString(e.RequestSHA256[:])}
	by, decided, err := s.parts.Journal.Decision(ctx, id)
	if err != nil {
		return EntryDetail{}, err
	}
	if d.Inquiry, err = s.inquiryOf(ctx, e); err != nil {
		return EntryDetail{}, err
	}
	if decided {
		d.Decision = &Decision{Who: by.Who, Reason: by.Reason, Time: by.At}
	}
	if personal {
		d.Personal = &Personal{PsnNo: e.PsnNo, Request: string(e.Request), Answer: string(e.Answer)}
	}
	return d, nil
}

func (s *Service) auditJournal(what string, id int64) {
	s.parts.Log.WithFields(map[string]any{"audit": what, "entry": id, "operator": s.cfg.Operator.No}).Info("audit")
}

// Resolve closes an entry of unknown outcome as a person found it to be at the
// centre, and brings its visit in step.
func (s *Service) Resolve(ctx context.Context, id int64, req ResolveRequest) (EntryDetail, error) {
	if err := s.may(RightResolve); err != nil {
		return EntryDetail{}, err
	}
	if s.parts.Journal == nil {
		return EntryDetail{}, ErrNoJournal
	}
	if req.Outcome == Acknowledged {
		return s.acknowledge(ctx, id, req)
	}
	c := settlement.Conclusion{Outcome: settlement.Outcome(req.Outcome), SetlID: req.SettlementID}
	if amounts := [4]string{req.Total, req.Fund, req.Account, req.Cash}; amounts != [4]string{} {
		var fen [4]settlement.Fen
		for i, text := range amounts {
			var err error
			if fen[i], err = settlement.ParseYuan(text); err != nil {
				return EntryDetail{}, detailed{ErrAmount, [4]string{"total", "fund", "account", "cash"}[i]}
			}
		}
		c.Booked = &settlement.Amounts{Total: fen[0], Fund: fen[1], Account: fen[2], Cash: fen[3]}
	}
	e, err := s.parts.Journal.Get(ctx, id)
	if err != nil {
		return EntryDetail{}, err
	}
	one, err := s.visits.find(ctx, e.Visit)
	switch {
	case errors.Is(err, settlement.ErrVisitUnknown): // put away long ago
	case err != nil:
		return EntryDetail{}, err
	case !one.step.TryLock():
		return EntryDetail{}, settlement.ErrInProgress
	default:
		defer one.step.Unlock()
	}
	if err := s.parts.Journal.Decide(ctx, id, c, req.Who, req.Reason); err != nil {
		return EntryDetail{}, err
	}
	s.auditJournal("journal entry decided: "+req.Outcome, id)
	if e, err = s.parts.Journal.Get(ctx, id); err != nil {
		return EntryDetail{}, err
	}
	if one != nil {
		s.visits.update(one, func(r *record) { r.adopt(s, e) })
		if err := s.visits.store(ctx, one); err != nil {
			s.parts.Log.WithError(err).Error("the decided visit could not be stored; the journal has the decision")
		}
	}
	s.countDay(ctx)
	return s.detail(ctx, id, false)
}

// acknowledge closes what a late answer contradicts.
func (s *Service) acknowledge(ctx context.Context, id int64, req ResolveRequest) (EntryDetail, error) {
	if s.resolver == nil {
		return EntryDetail{}, ErrNoUpstream
	}
	if err := s.resolver.Acknowledge(ctx, id, req.Who, req.Reason); err != nil {
		return EntryDetail{}, err
	}
	s.auditJournal("contradiction of a journal entry acknowledged", id)
	s.countDay(ctx)
	return s.detail(ctx, id, false)
}

// ExportJournal returns a part of a day's entries after one of them, with
// personal data where that is asked for, which is written to the audit log.
func (s *Service) ExportJournal(ctx context.Context, day string, after int64, personal bool) (JournalExport, error) {
	if s.parts.Journal == nil {
		return JournalExport{}, ErrNoJournal
	}
	if _, err := time.Parse(settlement.DateLayout, day); err != nil {
		return JournalExport{}, detailed{ErrDay, "day is yyyy-MM-dd"}
	}
	list, err := s.parts.Journal.List(ctx, settlement.Filter{Day: day, Earliest: true, After: after, Limit: exportPart})
	if err != nil {
		return JournalExport{}, err
	}
	if personal {
		s.auditJournal("journal exported with personal data", after)
	}
	out := JournalExport{Day: day, Entries: make([]EntryDetail, 0, len(list))}
	for _, e := range list {
		d, err := s.detail(ctx, e.ID, personal)
		if err != nil {
			return JournalExport{}, err
		}
		out.Entries = append(out.Entries, d)
	}
	if len(list) == exportPart {
		out.Next = list[len(list)-1].ID
	}
	return out, nil
}

// VerifyJournal reads the whole journal and recomputes its chain.
func (s *Service) VerifyJournal(ctx context.Context) (JournalVerification, error) {
	if s.parts.Journal == nil {
		return JournalVerification{}, ErrNoJournal
	}
	v, err := s.parts.Journal.Verify(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.parts.Log.WithError(err).Error("the journal was verified")
		}
		return JournalVerification{}, err
	}
	return verification(v), nil
}

func verification(v settlement.Verification) JournalVerification {
	return JournalVerification{Entries: v.Entries, Links: v.Links, Hash: hex.EncodeToString(v.Hash[:])}
}

// BackupJournal writes a copy of the journal into the directory backup of the
// state directory and verifies it.
func (s *Service) BackupJournal(ctx context.Context) (JournalBackup, error) {
	if s.parts.Journal == nil {
		return JournalBackup{}, ErrNoJournal
	}
	dir := filepath.Join(s.cfg.StateDir, "backup")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return JournalBackup{}, fmt.Errorf("%w: %w", settlement.ErrBackup, err)
	}
	name := "journal-" + s.parts.Now().In(ChinaTime).Format("20060102-150405.000") + ".db"
	b, err := s.parts.Journal.Backup(ctx, filepath.Join(dir, name))
	if err != nil {
		return JournalBackup{}, err
	}
	return JournalBackup{JournalVerification: verification(b.Verification), File: b.File, Bytes: b.Bytes, SHA256: hex.EncodeToString(b.SHA256[:])}, nil
}
