package settlement

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"onecard/fault"
)

// books answers like a centre that books everything: identities that hold, the
// msgid echoed where the real platform does.
func books(change func(*SetlInfo)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var e Envelope
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		info := aSetlInfo(e.Msgid)
		if e.Infno == "2206" {
			info.SetlID = ""
		}
		if change != nil {
			change(&info)
		}
		out := Settlement{SetlInfo: Node[SetlInfo]{info, true}}
		_ = json.NewEncoder(w).Encode(map[string]any{"infcode": "0", "inf_refmsgid": "R1", "err_msg": nil, "output": out})
	}
}

func aSettling() Settling {
	return Settling{Visit: "V1", Holder: "张*", Scope: testScope, Input: aSettleInput(), Trial: agreed, Agreed: agreed}
}

func TestSettle(t *testing.T) {
	j := newJournal(t)
	var seen Outcome
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		// The intention is on the disk before the request is here.
		if e, ok, err := j.Unresolved(context.Background(), "V1"); err != nil || !ok {
			t.Errorf("nothing in the journal while the request arrives: %v", err)
		} else {
			seen = e.Outcome
		}
		books(nil)(w, r)
	})
	receipt, err := NewSettler(newClient(t, s.URL), j).Settle(t.Context(), aSettling())
	if err != nil {
		t.Fatal(err)
	}
	if seen != Intended || receipt.SetlID != "S1" || receipt.Amounts != agreed || receipt.Differs || receipt.SetlTime != "2026-03-09 10:30:01" {
		t.Errorf("%s, %+v", seen, receipt)
	}
	e, err := j.Get(t.Context(), receipt.EntryID)
	if err != nil {
		t.Fatal(err)
	}
	var sent Envelope
	if err := json.Unmarshal(e.Request, &sent); err != nil {
		t.Fatal(err)
	}
	if e.Outcome != Done || e.SetlID != "S1" || e.MsgID != receipt.MsgID || sent.Msgid != e.MsgID || !strings.Contains(string(e.Answer), "S1") || e.Cash != 1500 {
		t.Errorf("%+v", e)
	}
	if _, err := NewSettler(newClient(t, s.URL), j).Settle(t.Context(), aSettling()); !errors.Is(err, ErrSettled) || OutcomeOf(err) != NotSent {
		t.Errorf("settled again: %v", err)
	}
}

// What the payer is told and what the journal says, for every misfortune.
func TestSettleMisfortunes(t *testing.T) {
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for name, x := range map[string]struct {
		h       http.HandlerFunc
		code    fault.Code
		outcome Outcome
		setlID  string
	}{
		"refused":           {answer(200, `{"infcode":-1,"err_msg":"就诊已结算"}`), fault.UpstreamRefused, Refused, ""},
		"gateway 401":       {answer(401, `{"code":401,"message":"签名错误"}`), fault.UpstreamCredentials, Refused, ""},
		"502":               {answer(502, `<html>`), fault.UpstreamHTTP, Unknown, ""},
		"HTML":              {answer(200, `<html>maintenance</html>`), fault.UpstreamMalformed, Unknown, ""},
		"cut":               {answer(200, `{"infcode":0,"output":{"setlinfo":{"setl_id":"S1"`), fault.UpstreamMalformed, Unknown, ""},
		"no output":         {answer(200, `{"infcode":0,"output":{}}`), fault.UpstreamMalformed, Unknown, ""},
		"dropped":           {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, fault.AnswerLost, Unknown, ""},
		"no setl_id":        {books(func(s *SetlInfo) { s.SetlID = "" }), fault.UpstreamMalformed, Unknown, ""},
		"other msgid":       {books(func(s *SetlInfo) { s.MedinsSetlID = "H51010000001202603091030009999" }), fault.AnswerMismatch, Unknown, ""},
		"no msgid":          {books(func(s *SetlInfo) { s.MedinsSetlID = "" }), fault.AnswerMismatch, Unknown, ""},
		"other visit":       {books(func(s *SetlInfo) { s.MdtrtID = "M2" }), fault.AnswerMismatch, Unknown, ""},
		"other person":      {books(func(s *SetlInfo) { s.PsnNo = "P2" }), fault.AnswerMismatch, Unknown, ""},
		"sums":              {books(func(s *SetlInfo) { s.PsnCashPay.Fen++ }), fault.SumsDisagree, Unknown, "S1"},
		"another total":     {books(func(s *SetlInfo) { s.MedfeeSumamt.Fen++; s.InscpScpAmt.Fen++; s.HospPartAmt.Fen++ }), fault.SumsDisagree, Unknown, "S1"},
		"too large":         {answer(200, strings.Repeat(" ", 3<<20)), fault.UpstreamTooLarge, Unknown, ""},
		"cash not knowable": {books(func(s *SetlInfo) { s.PsnCashPay, s.AcctPay = NullFen{}, NullFen{} }), fault.UpstreamMalformed, Unknown, "S1"},
	} {
		t.Run(name, func(t *testing.T) {
			var n atomic.Int64
			s := serve(t, func(w http.ResponseWriter, r *http.Request) { n.Add(1); x.h(w, r) })
			s.Config.ErrorLog = discardLog
			j := newJournal(t)
			settler := NewSettler(newClient(t, s.URL, func(c *Config) { c.AnswerLimit = 2 << 20 }), j)
			receipt, err := settler.Settle(t.Context(), aSettling())
			if receipt.SetlID != "" || err == nil {
				t.Fatalf("a receipt: %v, %v", receipt, err)
			}
			if fault.Of(err).Code != x.code || OutcomeOf(err) != x.outcome {
				t.Errorf("%v: %s, %s; want %s, %s", err, fault.Of(err).Code, OutcomeOf(err), x.code, x.outcome)
			}
			e, err := j.Get(t.Context(), 1)
			if err != nil || e.Outcome != x.outcome || e.Fault != x.code || e.SetlID != x.setlID || e.Cash != agreed.Cash {
				t.Errorf("journal: %+v, %v", e, err)
			}
			// Unknown is never sent again; refused may be.
			_, err = settler.Settle(t.Context(), aSettling())
			want := int64(2)
			if x.outcome == Unknown {
				want = 1
				if !errors.Is(err, ErrUnknownUnresolved) {
					t.Errorf("again: %v", err)
				}
			}
			if n.Load() != want {
				t.Errorf("%d requests, want %d", n.Load(), want)
			}
		})
	}
}

func TestSettleUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	j := newJournal(t)
	_, err = NewSettler(newClient(t, "http://"+l.Addr().String()), j).Settle(t.Context(), aSettling())
	if !errors.Is(err, ErrUnreachable) || OutcomeOf(err) != NotSent {
		t.Errorf("%v", err)
	}
	e, err := j.Get(t.Context(), 1)
	if err != nil || e.Outcome != Refused || e.Fault != fault.UpstreamUnreachable || e.Note != "not sent" {
		t.Errorf("%+v, %v", e, err)
	}
	s := serve(t, books(nil))
	if _, err := NewSettler(newClient(t, s.URL, func(c *Config) { c.MsgIDs = fixedID("X1") }), j).Settle(t.Context(), aSettling()); err != nil {
		t.Errorf("when the line is back: %v", err)
	}
}

type fixedID string

func (f fixedID) Next(context.Context) (string, error) { return string(f), nil }

// Nothing is sent that is not in the journal.
func TestSettleNeedsTheJournal(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("something was sent") })
	j := newJournal(t)
	client := newClient(t, s.URL)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := NewSettler(client, j).Settle(t.Context(), aSettling()); fault.Of(err).Code != fault.JournalUnavailable || OutcomeOf(err) != NotSent {
		t.Errorf("%v", err)
	}
	other := aSettling()
	other.Agreed.Cash++
	if _, err := NewSettler(client, j).Settle(t.Context(), other); fault.Of(err).Code != fault.AgreedDiffers || OutcomeOf(err) != NotSent {
		t.Errorf("%v", err)
	}
	other = aSettling()
	other.Input.InscpScpAmt++
	if _, err := NewSettler(client, j).Settle(t.Context(), other); fault.Of(err).Code != fault.SumsDisagree || OutcomeOf(err) != NotSent {
		t.Errorf("%v", err)
	}
	other = aSettling()
	other.Input.Certno = ""
	if _, err := NewSettler(client, j).Settle(t.Context(), other); fault.Of(err).Code != fault.FieldMissing || OutcomeOf(err) != NotSent {
		t.Errorf("%v", err)
	}
}

// The journal's disk fails between sending and answering: booked upstream, but
// nobody is told so before it is written down.
func TestSettleCannotConclude(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := openJournal(t, path)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := j.write.Exec(`PRAGMA query_only = 1`); err != nil {
			t.Error(err)
		}
		books(nil)(w, r)
	})
	receipt, err := NewSettler(newClient(t, s.URL), j).Settle(t.Context(), aSettling())
	if fault.Of(err).Code != fault.OutcomeUnwritten || OutcomeOf(err) != Unknown || receipt.SetlID != "" {
		t.Errorf("%v, %v", receipt, err)
	}
	if o := outcome(t, j, 1); o != Intended {
		t.Errorf("%s", o)
	}
	if _, err := j.write.Exec(`PRAGMA query_only = 0`); err != nil {
		t.Fatal(err)
	}
	intend(t, j, anEntry("V2")) // any later write carries the conclusion along
	if o := outcome(t, j, 1); o != Done {
		t.Errorf("%s", o)
	}
}

// A page that is closed while its settlement is on its way changes nothing.
func TestSettleIsNotCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { cancel(); books(nil)(w, r) })
	j := newJournal(t)
	if _, err := NewSettler(newClient(t, s.URL), j).Settle(ctx, aSettling()); err != nil {
		t.Error(err)
	}
	if o := outcome(t, j, 1); o != Done {
		t.Errorf("%s", o)
	}
}

// The balance changed after the trial: booked, and said.
func TestSettleBooksAnotherSplit(t *testing.T) {
	s := serve(t, books(func(s *SetlInfo) { s.AcctPay, s.PsnCashPay = SomeFen(2000), SomeFen(2000) }))
	j := newJournal(t)
	receipt, err := NewSettler(newClient(t, s.URL), j).Settle(t.Context(), aSettling())
	if err != nil || !receipt.Differs || receipt.Amounts.Cash != 2000 {
		t.Errorf("%+v, %v", receipt, err)
	}
	if e, err := j.Get(t.Context(), 1); err != nil || e.Cash != 2000 || e.Agreed.Cash != 1500 || e.Note == "" {
		t.Errorf("%+v, %v", e, err)
	}
}

// Windows that settle the same visit at once send it once.
func TestSettleOnceFromManyWindows(t *testing.T) {
	var n atomic.Int64
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { n.Add(1); books(nil)(w, r) })
	settler := NewSettler(newClient(t, s.URL), newJournal(t))
	var wg sync.WaitGroup
	var done atomic.Int64
	for range 16 {
		wg.Go(func() {
			_, err := settler.Settle(context.Background(), aSettling())
			switch {
			case err == nil:
				done.Add(1)
			case !errors.Is(err, ErrInProgress) && !errors.Is(err, ErrSettled):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n.Load() != 1 || done.Load() != 1 {
		t.Errorf("%d requests, %d receipts", n.Load(), done.Load())
	}
}

func TestTrial(t *testing.T) {
	for name, x := range map[string]struct {
		change func(*SetlInfo)
		code   fault.Code
	}{
		"holds":        {nil, ""},
		"no time":      {func(s *SetlInfo) { s.SetlTime, s.MedinsSetlID = "", "" }, ""},
		"other person": {func(s *SetlInfo) { s.PsnNo = "P2" }, fault.AnswerMismatch},
		"other msgid":  {func(s *SetlInfo) { s.MedinsSetlID = "x" }, fault.AnswerMismatch},
		"sums":         {func(s *SetlInfo) { s.HifpPay.Fen++ }, fault.SumsDisagree},
	} {
		s := serve(t, books(x.change))
		out, err := newClient(t, s.URL).Trial(t.Context(), testScope, aTrialInput())
		if (x.code == "") != (err == nil) || err != nil && fault.Of(err).Code != x.code {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			if a, err := out.SetlInfo.Value.Amounts(); err != nil || a != agreed {
				t.Errorf("%s: %+v, %v", name, a, err)
			}
		}
	}
}

func TestCalls(t *testing.T) {
	var output string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprintf(w, `{"infcode":0,"output":%s}`, output)
	})
	c, ctx := newClient(t, s.URL), t.Context()
	check := func(name, answer string, want fault.Code, call func() error) {
		t.Helper()
		output = answer
		err := call()
		if (err == nil) != (want == "") || err != nil && fault.Of(err).Code != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	signIn := func() error {
		_, err := c.SignIn(ctx, SignIn{OpterNo: "1", Mac: "m", IP: "i"})
		return err
	}
	check("sign in", `{"signinoutb":{"sign_no":7}}`, "", signIn)
	check("no sign_no", `{"signinoutb":{}}`, fault.UpstreamMalformed, signIn)
	check("no output", `null`, fault.UpstreamMalformed, signIn)
	var person Person
	query := func() (err error) {
		person, err = c.Person(ctx, Scope{}, aPersonQuery())
		return err
	}
	check("person", `{"baseinfo":{"psn_no":"P1","certno":"410101199003074531","psn_name":"张三"},"insuinfo":{"insutype":310,"balc":"80"}}`, "", query)
	if err := person.CheckHolder("410101199003074531", "张三"); err != nil || person.InsuInfo[0].Balc != SomeFen(8000) {
		t.Errorf("%v, %+v", err, person)
	}
	for _, other := range [][2]string{{"410101199003074532", "张三"}, {"410101199003074531", "李四"}} {
		if err := person.CheckHolder(other[0], other[1]); fault.Of(err).Code != fault.HolderDiffers || strings.Contains(err.Error(), "张") {
			t.Errorf("%v", err)
		}
	}
	check("not insured", `{"baseinfo":{"psn_no":"P1"},"insuinfo":[]}`, fault.NotInsured, query)
	check("nobody", `{}`, fault.NotInsured, query)
	register := func() error {
		_, err := c.Register(ctx, testScope, aRegistration())
		return err
	}
	check("register", `{"data":{"mdtrt_id":"M1","psn_no":"P1","ipt_otp_no":"OP1"}}`, "", register)
	check("register, no id", `{"data":{"psn_no":"P1"}}`, fault.UpstreamMalformed, register)
	check("register, other person", `{"data":{"mdtrt_id":"M1","psn_no":"P2"}}`, fault.AnswerMismatch, register)
	check("register, other visit", `{"data":{"mdtrt_id":"M1","ipt_otp_no":"OP2"}}`, fault.AnswerMismatch, register)
	check("visit", `null`, "", func() error { return c.UploadVisit(ctx, testScope, aVisitUpload()) })
	fees := func() error {
		_, err := c.UploadFees(ctx, testScope, feeLines(2))
		return err
	}
	row := func(sn, amount, own string) string {
		return `{"feedetl_sn":` + sn + `,"det_item_fee_sumamt":` + amount + `,"fulamt_ownpay_amt":` + own + `,"overlmt_amt":0,"preselfpay_amt":null,"inscp_scp_amt":17}`
	}
	check("fees", `{"result":[`+row(`"2"`, "17.5", "0.5")+`,`+row("1", `"17.50"`, `"0.50"`)+`]}`, "", fees)
	check("fees, one missing", `{"result":`+row("1", "17.5", "0.5")+`}`, fault.AnswerMismatch, fees)
	check("fees, doubled", `{"result":[`+row("1", "17.5", "0.5")+`,`+row("1", "17.5", "0.5")+`]}`, fault.AnswerMismatch, fees)
	check("fees, another", `{"result":[`+row("1", "17.5", "0.5")+`,`+row("3", "17.5", "0.5")+`]}`, fault.AnswerMismatch, fees)
	check("fees, amount", `{"result":[`+row("1", "17.5", "0.5")+`,`+row("2", "17.51", "0.51")+`]}`, fault.SumsDisagree, fees)
	check("fees, split", `{"result":[`+row("1", "17.5", "0.5")+`,`+row("2", "17.5", "0.49")+`]}`, fault.SumsDisagree, fees)
	bad := feeLines(2)
	bad[1].DetItemFeeSumamt++
	check("fees, ours", `{}`, fault.FeeLineInvalid, func() error { _, err := c.UploadFees(ctx, testScope, bad); return err })
}

// No error and no printed value of this package shows a person.
func TestNothingPersonalIsPrinted(t *testing.T) {
	j := newJournal(t)
	s := serve(t, books(func(s *SetlInfo) { s.PsnName = "张三"; s.PsnCashPay.Fen++ }))
	c := newClient(t, s.URL)
	p, err := c.Prepare(t.Context(), settleRequest())
	if err != nil {
		t.Fatal(err)
	}
	a, err := c.Do(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	_, settleErr := NewSettler(c, j).Settle(t.Context(), aSettling())
	e, err := j.Get(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	printed := fmt.Sprint(p, a, settleErr, e, Visit{ID: "V", Body: []byte("张三")}, Receipt{SetlID: "S"}) + e.Note
	for _, personal := range []string{"张", "410101199003074531", "A00000011", "P1"} {
		if strings.Contains(printed, personal) {
			t.Errorf("%s in %s", personal, printed)
		}
	}
}
