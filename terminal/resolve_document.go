package terminal

import (
	"context"
	"fmt"
	"time"

	"onecard/settlement"
)

// The states of an inquiry.
const (
	InquiryWaiting      = "waiting"      // asked again at Next
	InquiryManual       = "manual"       // asked when a person says so
	InquiryGivenUp      = "given_up"     // a person decides
	InquiryClosed       = "closed"       // the entry has an outcome
	InquiryContradicted = "contradicted" // closed, and a late answer says otherwise
)

// An Inquiry is what was done to find out what became of an entry, and what a
// person is to do. It names nobody.
type Inquiry struct {
	State    string       `json:"state"`
	Next     *time.Time   `json:"next,omitempty"`
	Text     Text         `json:"text"`           // how it stands
	Todo     *Text        `json:"todo,omitempty"` // what a person does
	Attempts []AttemptDoc `json:"attempts"`
}

// An AttemptDoc is one attempt.
type AttemptDoc struct {
	N       int        `json:"n"`
	Time    time.Time  `json:"time"`
	Verdict string     `json:"verdict"` // booked, never, reversed, given_up, undecided, contradicted, acknowledged
	Reason  string     `json:"reason,omitempty"`
	Text    Text       `json:"text"`
	By      string     `json:"by,omitempty"` // the operator who asked for it, or who acknowledged and why
	Asked   []AskedDoc `json:"asked"`
}

// An AskedDoc is one question to the centre and its answer.
type AskedDoc struct {
	Transaction  string    `json:"transaction"` // infno
	Time         time.Time `json:"time"`
	Found        string    `json:"found"`
	Text         Text      `json:"text"`
	Fault        *Fault    `json:"fault,omitempty"` // why there is no answer
	SettlementID string    `json:"settlement_id,omitempty"`
	Total        string    `json:"total,omitempty"`
	About        string    `json:"about,omitempty"` // of 3202: the day, and clr_type
}

// EntryView is an entry with what was done to find out about it.
type EntryView struct {
	Entry
	Inquiry *Inquiry `json:"inquiry,omitempty"` // of an entry that was, or is, in doubt
}

// inquiryOf tells of the attempts at an entry; nil where it was never in doubt.
func (s *Service) inquiryOf(ctx context.Context, e settlement.Entry) (*Inquiry, error) {
	attempts, err := s.parts.Journal.Attempts(ctx, e.ID)
	if err != nil {
		return nil, err
	}
	if len(attempts) == 0 && e.Outcome != settlement.Unknown {
		return nil, nil
	}
	q := &Inquiry{Attempts: make([]AttemptDoc, 0, len(attempts))}
	for _, a := range attempts {
		q.Attempts = append(q.Attempts, attemptDoc(a))
	}
	s.stateOf(q, e, attempts)
	return q, nil
}

// stateOf says how an inquiry stands.
func (s *Service) stateOf(q *Inquiry, e settlement.Entry, attempts []settlement.Attempt) {
	var last settlement.Attempt
	if len(attempts) > 0 {
		last = attempts[len(attempts)-1]
	}
	f := last.Finding
	switch {
	case e.Outcome != settlement.Unknown && f.Verdict == settlement.VerdictContradicted:
		q.State, q.Text = InquiryContradicted, verdictText(f)
		q.Todo = todo(e, f.Reason)
	case e.Outcome == settlement.Intended:
		q.State, q.Text = InquiryWaiting, Text{"正在办理。", "On its way."}
	case e.Outcome != settlement.Unknown:
		q.State, q.Text = InquiryClosed, closedText(e, f)
	case last.N > 0 && last.Next.IsZero():
		q.State, q.Text = InquiryGivenUp, verdictText(f)
		q.Todo = todo(e, f.Reason)
	case s.resolver == nil || !s.cfg.Resolve.automatic():
		q.State, q.Text = InquiryManual, Text{"不会自动查询。", "It is not asked about without a person."}
		q.Todo = todo(e, f.Reason)
	default:
		q.State, q.Text = InquiryWaiting, Text{"尚未查询，即将自动查询。", "Not asked yet; it soon is, without a person."}
		if last.N > 0 {
			q.Text, q.Next = verdictText(f), &last.Next
		}
	}
}

// closedText says how an entry that was in doubt came to its outcome.
func closedText(e settlement.Entry, f settlement.AttemptFinding) Text {
	switch f.Verdict {
	case settlement.VerdictBooked, settlement.VerdictNever, settlement.VerdictReversed, settlement.VerdictAcknowledged:
		return verdictText(f)
	}
	if e.ReversedBy != 0 {
		return Text{fmt.Sprintf("已由记录 %d 冲正。", e.ReversedBy), fmt.Sprintf("Taken back by entry %d.", e.ReversedBy)}
	}
	return Text{"已由人工核对。", "A person has decided it."}
}

func attemptDoc(a settlement.Attempt) AttemptDoc {
	d := AttemptDoc{
		N: a.N, Time: a.At, Verdict: string(a.Finding.Verdict), Reason: string(a.Finding.Reason),
		Text: verdictText(a.Finding), By: a.Finding.By, Asked: make([]AskedDoc, 0, len(a.Finding.Asked)),
	}
	for _, x := range a.Finding.Asked {
		one := AskedDoc{Transaction: x.Infno, Time: x.At, Found: x.Found, Text: saidText(x.Found), SettlementID: x.SetlID, About: x.About}
		if x.Total != nil {
			one.Total = x.Total.Yuan()
		}
		if x.Fault != "" {
			one.Fault = entryFault(settlement.Entry{Fault: x.Fault, Outcome: settlement.Refused})
		}
		d.Asked = append(d.Asked, one)
	}
	return d
}

// EntryView returns one entry with what was done to find out about it.
func (s *Service) EntryView(ctx context.Context, id int64) (EntryView, error) {
	if s.parts.Journal == nil {
		return EntryView{}, ErrNoJournal
	}
	e, err := s.parts.Journal.Get(ctx, id)
	if err != nil {
		return EntryView{}, err
	}
	v := EntryView{Entry: entryDocument(e)}
	v.Inquiry, err = s.inquiryOf(ctx, e)
	return v, err
}
