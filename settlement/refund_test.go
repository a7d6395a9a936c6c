package settlement

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"onecard/fault"
	"pgregory.net/rapid"
)

func aStaySettling() StaySettling {
	return StaySettling{
		Visit: "V1", Holder: "张*", Scope: testScope, Trial: agreed, Agreed: agreed,
		Input: StaySettleInput{
			PsnNo: "P1", MdtrtCertType: "03", MdtrtCertNo: "A00000011", CardSN: "410100D15600000500BF7C7A48FB4966", PsnCertType: "01",
			Certno: "410101199003074531", PsnType: "11", PsnName: "张三", MedfeeSumamt: agreed.Total, PsnSetlway: "01", MdtrtID: "M1",
			Insutype: "310", AcctUsedFlag: "1", MidSetlFlag: "0",
		},
	}
}

// aSale is one line of 100 yuan.
func aSale() Selling {
	return Selling{
		Visit: "V1", Holder: "张*", Scope: testScope, Trial: agreed, Agreed: agreed,
		Input: SaleInput{
			DrugInfo: DrugInfo{
				PsnNo: "P1", MdtrtCertType: "03", MdtrtCertNo: "A00000011", CardSN: "410100D15600000500BF7C7A48FB4966", PsnCertType: "01",
				Certno: "410101199003074531", PsnType: "11", PsnName: "张三", Begntime: "2026-03-09 10:30:00", MedfeeSumamt: agreed.Total,
				Insutype: "310", AcctUsedFlag: "1", MedType: "41",
			},
			DrugDetail: []DrugDetail{{
				FeedetlSN: SerialNo{Value: "1"}, RxCircFlag: "0", FeeOcurTime: "2026-03-09 10:30:00", MedListCodg: "X1", MedinsListCodg: "H1",
				DetItemFeeSumamt: agreed.Total, Cnt: 10000, Pric: 100_000_000,
			}},
		},
	}
}

// opposed is the answer to a refund of what books answers.
func opposed(msgid string) SetlInfo {
	s := aSetlInfo(msgid)
	for _, f := range []*NullFen{
		&s.MedfeeSumamt, &s.FulamtOwnpayAmt, &s.OverlmtSelfpay, &s.PreselfpayAmt, &s.InscpScpAmt, &s.HifpPay, &s.HifmiPay,
		&s.FundPaySumamt, &s.PsnPartAmt, &s.AcctPay, &s.PsnCashPay,
	} {
		f.Fen = -f.Fen
	}
	s.SetlID = "S2"
	return s
}

// takesBack books everything and takes everything back; change spoils the
// answer to a refund.
func takesBack(infnos *[]string, change func(*SetlInfo)) http.HandlerFunc {
	round := "" // no number is given twice
	return func(w http.ResponseWriter, r *http.Request) {
		var e Envelope
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if infnos != nil {
			*infnos = append(*infnos, e.Infno)
		}
		info := aSetlInfo(e.Msgid)
		if slices.Contains([]string{"2208", "2305", "2103"}, e.Infno) {
			info = opposed(e.Msgid)
			if change != nil {
				change(&info)
			}
		}
		info.SetlID += Text(round)
		if info.MedfeeSumamt.Fen < 0 {
			round += "'"
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"infcode": 0, "inf_refmsgid": "R1", "output": Settlement{SetlInfo: Node[SetlInfo]{info, true}}})
	}
}

// Each settlement is taken back by its own transaction, and the visit may be
// settled again.
func TestRefundOfEveryKind(t *testing.T) {
	for infno, settle := range map[string]func(*Settler) (Receipt, error){
		"2208": func(s *Settler) (Receipt, error) { return s.Settle(t.Context(), aSettling()) },
		"2305": func(s *Settler) (Receipt, error) { return s.SettleStay(t.Context(), aStaySettling()) },
		"2103": func(s *Settler) (Receipt, error) { return s.Sell(t.Context(), aSale()) },
	} {
		t.Run(infno, func(t *testing.T) {
			var sent []string
			j := newJournal(t)
			s := NewSettler(newClient(t, serve(t, takesBack(&sent, nil)).URL), j)
			for range 2 {
				receipt, err := settle(s)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := settle(s); !errors.Is(err, ErrSettled) {
					t.Errorf("settled twice: %v", err)
				}
				refund, err := s.Refund(t.Context(), Refunding{Entry: receipt.EntryID})
				if err != nil {
					t.Fatal(err)
				}
				if refund.Amounts != (Amounts{-10000, -6000, -2500, -1500}) || !strings.HasPrefix(refund.SetlID, "S2") || refund.MdtrtID != "M1" {
					t.Errorf("%+v", refund)
				}
				e, err := j.Get(t.Context(), refund.EntryID)
				if err != nil || e.Undoes != receipt.EntryID || e.Outcome != Done || e.Cash != -1500 || !strings.Contains(string(e.Request), `"insuplc_admdvs":"`+testScope.InsuplcAdmdvs) {
					t.Errorf("%+v, %v", e, err)
				}
				for id, code := range map[int64]fault.Code{receipt.EntryID: fault.Refunded, refund.EntryID: fault.VisitState} {
					if _, err := s.Refund(t.Context(), Refunding{Entry: id}); OutcomeOf(err) != NotSent || fault.Of(err).Code != code {
						t.Errorf("entry %d taken back again: %v", id, err)
					}
				}
			}
			if len(sent) != 4 || sent[1] != infno || sent[3] != infno {
				t.Errorf("sent %v", sent)
			}
		})
	}
}

// What an answer to a refund must not say. Null is not zero: what is absent is
// derived.
func TestRefundAnswers(t *testing.T) {
	absent := NullFen{}
	for name, x := range map[string]struct {
		change func(*SetlInfo)
		code   fault.Code // "": accepted
	}{
		"as it is":         {func(*SetlInfo) {}, ""},
		"the three absent": {func(s *SetlInfo) { s.PsnPartAmt, s.HospPartAmt, s.AcctMulaidPay = absent, absent, absent }, ""},
		"person left out":  {func(s *SetlInfo) { s.PsnNo = "" }, ""},
		"positive":         {func(s *SetlInfo) { id := s.MedinsSetlID; *s = aSetlInfo(string(id)); s.SetlID = "S2" }, fault.SumsDisagree},
		"a fen of cash":    {func(s *SetlInfo) { s.PsnCashPay.Fen--; s.AcctPay.Fen++ }, fault.SumsDisagree},
		"a fen of fund":    {func(s *SetlInfo) { s.HifpPay.Fen--; s.FundPaySumamt.Fen--; s.PsnPartAmt.Fen++; s.PsnCashPay.Fen++ }, fault.SumsDisagree},
		"part of it": {func(s *SetlInfo) {
			s.MedfeeSumamt.Fen += 5
			s.InscpScpAmt.Fen += 5
			s.PsnPartAmt.Fen += 5
			s.PsnCashPay.Fen += 5
		}, fault.SumsDisagree},
		"sums that do not hold":  {func(s *SetlInfo) { s.HifpPay.Fen-- }, fault.SumsDisagree},
		"family account > own":   {func(s *SetlInfo) { s.AcctMulaidPay = SomeFen(-2501) }, fault.SumsDisagree},
		"family account":         {func(s *SetlInfo) { s.AcctMulaidPay = SomeFen(-2500) }, ""},
		"the settlement's id":    {func(s *SetlInfo) { s.SetlID = "S1" }, fault.AnswerMismatch},
		"no id":                  {func(s *SetlInfo) { s.SetlID = "" }, fault.UpstreamMalformed},
		"another msgid":          {func(s *SetlInfo) { s.MedinsSetlID = "1" }, fault.AnswerMismatch},
		"another visit":          {func(s *SetlInfo) { s.MdtrtID = "M2" }, fault.AnswerMismatch},
		"another person":         {func(s *SetlInfo) { s.PsnNo = "P2" }, fault.AnswerMismatch},
		"account, cash unknown":  {func(s *SetlInfo) { s.AcctPay, s.PsnCashPay = absent, absent }, fault.UpstreamMalformed},
		"cash absent, derivable": {func(s *SetlInfo) { s.PsnCashPay = absent }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			j := newJournal(t)
			s := NewSettler(newClient(t, serve(t, takesBack(nil, x.change)).URL), j)
			receipt, err := s.Settle(t.Context(), aSettling())
			if err != nil {
				t.Fatal(err)
			}
			refund, err := s.Refund(t.Context(), Refunding{Entry: receipt.EntryID})
			if x.code == "" {
				if err != nil || refund.Amounts.Cash != -1500 {
					t.Errorf("%+v, %v", refund, err)
				}
				return
			}
			if fault.Of(err).Code != x.code || OutcomeOf(err) != Unknown || refund.SetlID != "" {
				t.Errorf("%+v, %v", refund, err)
			}
			original, err := j.Get(t.Context(), receipt.EntryID)
			if err != nil || original.ReversedBy != 0 || original.Outcome != Done {
				t.Errorf("%+v, %v", original, err)
			}
		})
	}
}

// What cannot be taken back is refused before anything is sent.
func TestRefundOfNothing(t *testing.T) {
	var n atomic.Int64
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		_, _ = io.WriteString(w, `{"infcode":-1,"err_msg":"x"}`)
	})
	j := newJournal(t)
	s := NewSettler(newClient(t, server.URL), j)
	if _, err := s.Refund(t.Context(), Refunding{Entry: 7}); !errors.Is(err, ErrEntryUnknown) || OutcomeOf(err) != NotSent {
		t.Errorf("no such entry: %v", err)
	}
	if err := s.Reverse(t.Context(), 7, testScope); !errors.Is(err, ErrEntryUnknown) || OutcomeOf(err) != NotSent {
		t.Errorf("no such entry: %v", err)
	}
	if _, err := s.Settle(t.Context(), aSettling()); OutcomeOf(err) != Refused {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"refund":  func() error { _, err := s.Refund(t.Context(), Refunding{Entry: 1}); return err }(),
		"reverse": s.Reverse(t.Context(), 1, testScope),
	} {
		if !errors.Is(err, ErrNotRefundable) || OutcomeOf(err) != NotSent {
			t.Errorf("%s of what was refused: %v", name, err)
		}
	}
	if n.Load() != 1 {
		t.Errorf("%d requests", n.Load())
	}
}

// Sales and stays that must not be sent.
func TestWhatIsNotSettled(t *testing.T) {
	s := NewSettler(newClient(t, serve(t, func(http.ResponseWriter, *http.Request) { t.Error("sent") }).URL), newJournal(t))
	for name, change := range map[string]func(*Selling){
		"no lines":       func(in *Selling) { in.Input.DrugDetail = nil },
		"another total":  func(in *Selling) { in.Input.DrugInfo.MedfeeSumamt++; in.Agreed.Total++; in.Trial.Total++ },
		"another amount": func(in *Selling) { in.Input.DrugDetail[0].DetItemFeeSumamt++ },
		"not agreed":     func(in *Selling) { in.Agreed.Cash++ },
		"no code":        func(in *Selling) { in.Input.DrugDetail[0].MedListCodg = "" },
		"number as text": func(in *Selling) { in.Input.DrugDetail[0].FeedetlSN.Value = "yp570" },
		"no place":       func(in *Selling) { in.Scope.InsuplcAdmdvs = "" },
		"negative":       func(in *Selling) { in.Input.DrugDetail[0].Pric *= -1 },
		"negative return": func(in *Selling) {
			in.Input.DrugDetail[0].Cnt *= -1
			in.Input.DrugDetail[0].DetItemFeeSumamt *= -1
			in.Input.DrugInfo.MedfeeSumamt *= -1
			in.Agreed.Total *= -1
			in.Trial = in.Agreed
		},
	} {
		in := aSale()
		in.Input.DrugDetail = slices.Clone(in.Input.DrugDetail)
		change(&in)
		if _, err := s.Sell(t.Context(), in); OutcomeOf(err) != NotSent {
			t.Errorf("sale, %s: %v", name, err)
		}
	}
	for name, change := range map[string]func(*StaySettling){
		"another total": func(in *StaySettling) { in.Input.MedfeeSumamt++ },
		"not agreed":    func(in *StaySettling) { in.Agreed.Fund++ },
		"another split": func(in *StaySettling) { in.Input.InscpScpAmt = SomeFen(1) },
		"no visit":      func(in *StaySettling) { in.Input.MdtrtID = "" },
	} {
		in := aStaySettling()
		change(&in)
		if _, err := s.SettleStay(t.Context(), in); OutcomeOf(err) != NotSent {
			t.Errorf("stay, %s: %v", name, err)
		}
	}
}

// A sale's answer brings its lines; lines of another sale are in doubt.
func TestSaleAnswers(t *testing.T) {
	for name, x := range map[string]struct {
		lines   string
		outcome Outcome
	}{
		"its line":      {`[{"feedetl_sn":"1","det_item_fee_sumamt":"100.00","inscp_scp_amt":80,"fulamt_ownpay_amt":20}]`, Done},
		"none":          {`null`, Done},
		"one of two":    {`[{"feedetl_sn":"1","inscp_scp_amt":100},{"feedetl_sn":"2","inscp_scp_amt":100}]`, Unknown},
		"another":       {`[{"feedetl_sn":"2","inscp_scp_amt":100}]`, Unknown},
		"another sum":   {`[{"feedetl_sn":"1","det_item_fee_sumamt":99,"inscp_scp_amt":99}]`, Unknown},
		"a split off":   {`[{"feedetl_sn":"1","inscp_scp_amt":99}]`, Unknown},
		"without split": {`[{"feedetl_sn":"1"}]`, Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, func(w http.ResponseWriter, r *http.Request) {
				var e Envelope
				_ = json.NewDecoder(r.Body).Decode(&e)
				info := aSetlInfo(e.Msgid)
				_ = json.NewEncoder(w).Encode(map[string]any{"infcode": 0, "output": map[string]any{"setlinfo": info, "detlcutinfo": json.RawMessage(x.lines)}})
			})
			j := newJournal(t)
			receipt, err := NewSettler(newClient(t, server.URL), j).Sell(t.Context(), aSale())
			if OutcomeOf(err) != x.outcome {
				t.Errorf("%+v, %v", receipt, err)
			}
			if e, err := j.Get(t.Context(), 1); err != nil || e.Outcome != x.outcome {
				t.Errorf("%+v, %v", e, err)
			}
		})
	}
}

// A region that numbers 2207 differently: the journal says 2207, the wire and a
// reversal say what was sent.
func TestVariantsInTheJournal(t *testing.T) {
	var sent []string
	var original string
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var e struct {
			Infno, Msgid string
			Input        struct {
				Data struct{ Omsgid, Oinfno string }
			}
		}
		_ = json.NewDecoder(r.Body).Decode(&e)
		sent = append(sent, e.Infno+" "+e.Input.Data.Oinfno)
		if e.Infno != "2601" {
			original = e.Msgid
			panic(http.ErrAbortHandler)
		}
		if e.Input.Data.Omsgid != original {
			t.Errorf("reverses %s", e.Input.Data.Omsgid)
		}
		_, _ = io.WriteString(w, `{"infcode":0,"output":null}`)
	})
	server.Config.ErrorLog = discardLog
	j := newJournal(t)
	s := NewSettler(newClient(t, server.URL, func(c *Config) { c.Variants = map[string]string{"2207": "2207A"} }), j)
	if _, err := s.Settle(t.Context(), aSettling()); OutcomeOf(err) != Unknown {
		t.Fatal(err)
	}
	if err := s.Reverse(t.Context(), 1, Scope{}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(sent, []string{"2207A ", "2601 2207A"}) {
		t.Errorf("sent %q", sent)
	}
	first, err1 := j.Get(t.Context(), 1)
	reversal, err2 := j.Get(t.Context(), 2)
	if err := errors.Join(err1, err2); err != nil || first.Infno != "2207" || first.Outcome != Refused || first.ReversedBy != 2 || reversal.SetlID != reversal.MsgID || reversal.Total != -10000 {
		t.Errorf("%+v, %+v, %v", first, reversal, err)
	}
	for infno, want := range map[string]string{"2207": "2208", "2207A": "2208", "2304": "2305", "2102": "2103", "2208": "", "2601": "", "": ""} {
		if got, ok := RefundInfno(infno); got != want || ok != (want != "") {
			t.Errorf("refund of %s: %s", infno, got)
		}
	}
}

// The disk fails between sending a refund and its answer: taken back upstream,
// but nobody is told so before it is written down, and then both entries say it.
func TestRefundCannotConclude(t *testing.T) {
	j := openJournal(t, filepath.Join(t.TempDir(), "journal.db"))
	fails := false
	s := NewSettler(newClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		if fails {
			if _, err := j.write.Exec(`PRAGMA query_only = 1`); err != nil {
				t.Error(err)
			}
		}
		takesBack(nil, nil)(w, r)
	}).URL), j)
	receipt, err := s.Settle(t.Context(), aSettling())
	if err != nil {
		t.Fatal(err)
	}
	fails = true
	refund, err := s.Refund(t.Context(), Refunding{Entry: receipt.EntryID})
	if fault.Of(err).Code != fault.OutcomeUnwritten || OutcomeOf(err) != Unknown || refund.SetlID != "" {
		t.Errorf("%v, %v", refund, err)
	}
	if _, err := j.write.Exec(`PRAGMA query_only = 0`); err != nil {
		t.Fatal(err)
	}
	other := anEntry("V2")
	other.MdtrtID = "M2"
	intend(t, j, other) // any later write carries the conclusion along
	if e, err := j.Get(t.Context(), receipt.EntryID); err != nil || e.ReversedBy != 2 || outcome(t, j, 2) != Done {
		t.Errorf("%+v, %v", e, err)
	}
}

// A page that is closed while its refund is on its way changes nothing.
func TestRefundIsNotCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	refunds := false
	j := newJournal(t)
	s := NewSettler(newClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		if refunds {
			cancel()
		}
		takesBack(nil, nil)(w, r)
	}).URL), j)
	receipt, err := s.Settle(t.Context(), aSettling())
	if err != nil {
		t.Fatal(err)
	}
	refunds = true
	if _, err := s.Refund(ctx, Refunding{Entry: receipt.EntryID}); err != nil {
		t.Error(err)
	}
	if o := outcome(t, j, 2); o != Done {
		t.Errorf("%s", o)
	}
}

// Windows that take back, settle and reverse at once: the settlement is taken
// back once, and nothing is settled before that is known.
func TestRefundOnceFromManyWindows(t *testing.T) {
	var refunds, settlements atomic.Int64
	j := newJournal(t)
	s := NewSettler(newClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if strings.Contains(string(body), `"infno":"2208"`) {
			refunds.Add(1)
		} else {
			settlements.Add(1)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		takesBack(nil, nil)(w, r)
	}).URL), j)
	receipt, err := s.Settle(t.Context(), aSettling())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var done, again atomic.Int64
	for i := range 24 {
		wg.Go(func() {
			var err error
			switch i % 3 {
			case 0, 1:
				if _, err = s.Refund(context.Background(), Refunding{Entry: receipt.EntryID}); err == nil {
					done.Add(1)
				}
			case 2:
				if _, err = s.Settle(context.Background(), aSettling()); err == nil {
					again.Add(1)
				}
			}
			if err != nil && OutcomeOf(err) != NotSent {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if refunds.Load() != 1 || done.Load() != 1 || settlements.Load() != 1+again.Load() || again.Load() > 1 {
		t.Errorf("%d refunds sent, %d done; %d settlements sent, %d more done", refunds.Load(), done.Load(), settlements.Load(), again.Load())
	}
}

// Whatever a settlement's amounts are, its opposite is accepted, with any of
// the terms left out that texts permit to leave out, and a fen's difference
// anywhere is not.
func TestRefundMoney(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		some := func(name string) Fen { return Fen(rapid.Int64Range(0, 1e12).Draw(t, name)) }
		funds := []Fen{some("hifp"), some("cvlserv"), some("hifes"), some("hifmi"), some("hifob"), some("maf"), some("oth"), some("hifdm")}
		var fund Fen
		for _, f := range funds {
			fund += f
		}
		account, cash, hospital := some("account"), some("cash"), some("hospital")
		total := fund + account + cash + hospital
		full := Fen(rapid.Int64Range(0, int64(total)).Draw(t, "full"))
		neg := func(f Fen) NullFen { return SomeFen(-f) }
		info := SetlInfo{
			MdtrtID: "M1", SetlID: "S2", MedinsSetlID: "X",
			MedfeeSumamt: neg(total), FulamtOwnpayAmt: neg(full), OverlmtSelfpay: neg(0), PreselfpayAmt: neg(0), InscpScpAmt: neg(total - full),
			HifpPay: neg(funds[0]), CvlservPay: neg(funds[1]), HifesPay: neg(funds[2]), HifmiPay: neg(funds[3]), HifobPay: neg(funds[4]),
			MafPay: neg(funds[5]), OthPay: neg(funds[6]), HifdmPay: neg(funds[7]), FundPaySumamt: neg(fund),
			PsnPartAmt: neg(account + cash), AcctPay: neg(account), PsnCashPay: neg(cash), HospPartAmt: neg(hospital),
		}
		e := Entry{MdtrtID: "M1", SetlID: "S1", Total: total, Fund: fund, Account: account, Cash: cash}
		for name, f := range map[string]*NullFen{"no part": &info.PsnPartAmt, "no hospital": &info.HospPartAmt} {
			if rapid.Bool().Draw(t, name) {
				*f = NullFen{}
			}
		}
		got, err := Settlement{SetlInfo: Node[SetlInfo]{info, true}}.acceptRefund("2208", "X", e)
		if err != nil || got != e.opposite() {
			t.Fatalf("%+v, %v", got, err)
		}
		spoilt := info
		by := Fen(rapid.SampledFrom([]int64{-1, 1}).Draw(t, "by"))
		field := rapid.SampledFrom([]*NullFen{&spoilt.MedfeeSumamt, &spoilt.FundPaySumamt, &spoilt.AcctPay, &spoilt.PsnCashPay, &spoilt.InscpScpAmt, &spoilt.HifpPay}).Draw(t, "field")
		field.Fen += by
		if got, err := (Settlement{SetlInfo: Node[SetlInfo]{spoilt, true}}).acceptRefund("2208", "X", e); err == nil {
			t.Fatalf("accepted %+v", got)
		}
	})
}
