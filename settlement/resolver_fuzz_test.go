package settlement

import (
	"bytes"
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"onecard/fault"
)

// saidLine answers every question with what it was given.
type saidLine struct {
	settlement, visits, lines, rows string
}

func (l saidLine) Call(_ context.Context, r Request) (Answer, error) {
	text := map[string]string{infnoSettlementQuery: l.settlement, infnoVisitQuery: l.visits, infnoLineQuery: l.lines}[r.Infno]
	return decodeAnswer(r.Infno, 200, []byte(text))
}

func (l saidLine) CompareRows(context.Context, Scope, Statement, []StatementRow) ([]ResultRow, error) {
	var rows [][]string
	for line := range strings.Lines(l.rows) {
		columns := strings.Split(strings.TrimRight(line, "\n"), "\t")
		for i, c := range columns {
			if strings.EqualFold(c, "null") {
				columns[i] = ""
			}
		}
		rows = append(rows, columns)
	}
	return ReadResultRows(rows)
}

// Whatever upstream answers: an entry is done only by an answer that names its
// message number and its total, and never arrived only where no row names it.
func FuzzLookupAnswers(f *testing.F) {
	j, err := OpenJournal(filepath.Join(f.TempDir(), "journal.db"), time.Now)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := j.Close(); err != nil {
			f.Error(err)
		}
	})
	const msgid = "H51010000001202603091030000001"
	id, err := j.Intend(f.Context(), Entry{
		Visit: "V1", Infno: "2207", MsgID: msgid, Agreed: Amounts{Total: 10000, Fund: 6000, Account: 2500, Cash: 1500}, MdtrtID: "M1", PsnNo: "P1", Holder: "张*",
		Request: []byte(`{"infno":"2207","msgid":"` + msgid + `","insuplc_admdvs":"510100","input":{"data":{"med_type":"11"}}}`),
	})
	if err != nil {
		f.Fatal(err)
	}
	if err := j.Conclude(f.Context(), id, Conclusion{Outcome: Unknown, Fault: fault.AnswerLost}); err != nil {
		f.Fatal(err)
	}
	e, err := j.Get(f.Context(), id)
	if err != nil {
		f.Fatal(err)
	}
	good := `{"infcode":0,"output":{"setlinfo":{"setl_id":"S1","mdtrt_id":"M1","psn_no":"P1","medins_setl_id":"` + msgid + `","medfee_sumamt":100,"fulamt_ownpay_amt":0,` +
		`"overlmt_selfpay":0,"preselfpay_amt":0,"inscp_scp_amt":100,"hifp_pay":60,"fund_pay_sumamt":60,"psn_pay":40,"acct_pay":25,"cash_payamt":15,"refd_setl_flag":"0"}}}`
	row := "P1\tM1\tS1\t" + msgid + "\t1\t0\tnull\t100.00\t60.00\t25.00\n"
	f.Add(good, `{"infcode":0,"output":{"mdtrtinfo":[{"mdtrt_id":"M1","setl_id":"S1"}]}}`, `{"infcode":0,"output":[{"mdtrt_id":"M1","setl_id":"S1"}]}`, row, uint8(0))
	f.Add(`{"infcode":-1,"err_msg":"x"}`, `{"infcode":0,"output":{}}`, `{}`, "", uint8(1))
	f.Add(strings.ReplaceAll(good, `"0"}}}`, `"1"}}}`), "", "", row, uint8(2))
	f.Add(strings.ReplaceAll(good, "S1", "S2"), "", "", "P1\tM1\tS1\tnull\t1\t0\tnull\t100.00\t60.00\t25.00\n", uint8(3))
	f.Add(strings.ReplaceAll(good, `"hifp_pay":60`, `"hifp_pay":61`), "null", `[]`, row+row, uint8(4))
	f.Add("", "", "", "P1\tM1\tS1\tX\t1\t0\t\t100.00\n", uint8(5))
	orders := [][]string{nil, {"3202"}, {"5203", "3202"}, {"5201", "5203"}, {"5204", "3202", "5203"}, {"5201"}}
	f.Fuzz(func(t *testing.T, settlement, visits, lines, rows string, order uint8) {
		r, err := NewResolver(ResolverConfig{
			Journal: j, Line: saidLine{settlement, visits, lines, rows}, SignNo: func(context.Context) (string, error) { return "1", nil },
			Area: "510100", Lookup: Lookup{Order: orders[int(order)%len(orders)]},
			Now: func() time.Time { return e.ClosedAt.Add(time.Hour) },
		})
		if err != nil {
			t.Fatal(err)
		}
		q := &inquiry{r: r, entry: e, at: r.cfg.Now(), excluded: make(map[string]bool)}
		d, err := q.decide(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		names := strings.Contains(rows, msgid)
		switch c := d.conclusion; {
		case c == nil:
			if d.verdict == VerdictBooked || d.verdict == VerdictNever || d.verdict == VerdictReversed {
				t.Errorf("%+v without a conclusion", d)
			}
		case c.Outcome == Done:
			if d.verdict != VerdictBooked || c.SetlID == "" || len(c.SetlID) > 30 || c.Booked == nil || c.Booked.Total != e.Agreed.Total {
				t.Errorf("done: %+v", c)
			}
			if !names && !bytes.Contains(c.Answer, []byte(msgid)) && !strings.Contains(settlement, `\u`) {
				t.Errorf("done by an answer that does not name it: %q, %q", c.Answer, rows)
			}
		case c.Outcome == Refused:
			parsed, err := saidLine{rows: rows}.CompareRows(t.Context(), Scope{}, Statement{}, nil)
			if err != nil || d.verdict != VerdictNever || slices.ContainsFunc(parsed, func(r ResultRow) bool { return r.MsgID == msgid }) {
				t.Errorf("refused although a row names it: %q, %v", rows, err)
			}
		default:
			t.Errorf("%+v", c)
		}
		for _, a := range q.asked {
			if len(a.SetlID) > 30 {
				t.Errorf("setl_id of %d bytes kept", len(a.SetlID))
			}
			if a.Found == "" {
				t.Errorf("%+v", a)
			}
		}
	})
}
