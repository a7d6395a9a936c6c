package settlement

import (
	"errors"
	"testing"

	"onecard/fault"
	"pgregory.net/rapid"
)

func TestSettlementSums(t *testing.T) {
	absent := NullFen{}
	for name, x := range map[string]struct {
		change   func(*SetlInfo)
		identity int // 0: holds; -1: cannot be known
	}{
		"as it is":              {func(*SetlInfo) {}, 0},
		"total off":             {func(s *SetlInfo) { s.MedfeeSumamt.Fen++ }, 4},
		"total and split off":   {func(s *SetlInfo) { s.MedfeeSumamt.Fen++; s.InscpScpAmt.Fen++ }, 1},
		"fund term off":         {func(s *SetlInfo) { s.HifpPay.Fen-- }, 2},
		"fund off":              {func(s *SetlInfo) { s.FundPaySumamt.Fen++; s.HifpPay.Fen++ }, 1},
		"part off":              {func(s *SetlInfo) { s.PsnPartAmt.Fen++; s.HospPartAmt.Fen-- }, 3},
		"cash off":              {func(s *SetlInfo) { s.PsnCashPay.Fen++ }, 3},
		"hospital off":          {func(s *SetlInfo) { s.HospPartAmt.Fen++ }, 1},
		"split off":             {func(s *SetlInfo) { s.PreselfpayAmt.Fen++ }, 4},
		"family account > own":  {func(s *SetlInfo) { s.AcctMulaidPay = SomeFen(2501) }, 3},
		"family account":        {func(s *SetlInfo) { s.AcctMulaidPay = SomeFen(2500) }, 0},
		"part absent":           {func(s *SetlInfo) { s.PsnPartAmt = absent }, 0},
		"hospital absent":       {func(s *SetlInfo) { s.HospPartAmt = absent }, 0},
		"both absent":           {func(s *SetlInfo) { s.PsnPartAmt, s.HospPartAmt, s.AcctMulaidPay = absent, absent, absent }, 0},
		"part absent, cash off": {func(s *SetlInfo) { s.PsnPartAmt = absent; s.PsnCashPay.Fen++ }, 1},
		"cash absent":           {func(s *SetlInfo) { s.PsnCashPay = absent }, 0},
		"account absent":        {func(s *SetlInfo) { s.AcctPay = absent }, 0},
		"cash, account absent":  {func(s *SetlInfo) { s.PsnCashPay, s.AcctPay = absent, absent }, -1},
		"cash, part absent":     {func(s *SetlInfo) { s.PsnCashPay, s.PsnPartAmt = absent, absent }, 0},
		"cash, part, hospital":  {func(s *SetlInfo) { s.PsnCashPay, s.PsnPartAmt, s.HospPartAmt = absent, absent, absent }, -1},
		"fund absent":           {func(s *SetlInfo) { s.FundPaySumamt = absent }, 0},
		"zero fund absent":      {func(s *SetlInfo) { s.HifdmPay, s.CvlservPay = absent, absent }, 0},
		"paying fund absent":    {func(s *SetlInfo) { s.HifmiPay = absent }, 2},
		"split absent": {func(s *SetlInfo) {
			s.FulamtOwnpayAmt, s.OverlmtSelfpay, s.PreselfpayAmt, s.InscpScpAmt = absent, absent, absent, absent
		}, 0},
		"everything absent": {func(s *SetlInfo) { *s = SetlInfo{} }, -1},
		"refund": {func(s *SetlInfo) {
			for _, f := range []*NullFen{
				&s.MedfeeSumamt, &s.FulamtOwnpayAmt, &s.OverlmtSelfpay, &s.PreselfpayAmt, &s.InscpScpAmt, &s.HifpPay, &s.HifmiPay,
				&s.FundPaySumamt, &s.AcctPay, &s.PsnCashPay,
			} {
				f.Fen = -f.Fen
			}
			s.PsnPartAmt, s.HospPartAmt, s.AcctMulaidPay = absent, absent, absent
		}, 0},
	} {
		s := aSetlInfo("1")
		x.change(&s)
		amounts, err := s.Amounts()
		var sums *SumsError
		switch {
		case x.identity == 0 && err != nil:
			t.Errorf("%s: %v", name, err)
		case x.identity == 0 && amounts != agreed && name != "refund":
			t.Errorf("%s: %+v", name, amounts)
		case x.identity > 0 && (!errors.As(err, &sums) || sums.Identity != x.identity || fault.Of(err).Code != fault.SumsDisagree || OutcomeOf(err) != Unknown):
			t.Errorf("%s: %v, want identity %d", name, err, x.identity)
		case x.identity < 0 && !errors.Is(err, ErrMalformed):
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
}

// A settlement whose parts are drawn at random holds; with any one amount
// changed it does not.
func TestSumsNoticeEveryChange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) NullFen { return SomeFen(Fen(rapid.Int64Range(0, 10_000_000).Draw(t, name))) }
		s := SetlInfo{
			HifpPay: draw("hifp"), CvlservPay: draw("cvlserv"), HifesPay: draw("hifes"), HifmiPay: draw("hifmi"), HifobPay: draw("hifob"),
			MafPay: draw("maf"), OthPay: draw("oth"), HifdmPay: draw("hifdm"), AcctPay: draw("acct"), PsnCashPay: draw("cash"), HospPartAmt: draw("hosp"),
		}
		s.FundPaySumamt = SomeFen(s.HifpPay.Fen + s.CvlservPay.Fen + s.HifesPay.Fen + s.HifmiPay.Fen + s.HifobPay.Fen + s.MafPay.Fen + s.OthPay.Fen + s.HifdmPay.Fen)
		s.PsnPartAmt = SomeFen(s.AcctPay.Fen + s.PsnCashPay.Fen)
		total := s.FundPaySumamt.Fen + s.PsnPartAmt.Fen + s.HospPartAmt.Fen
		own := Fen(rapid.Int64Range(0, int64(total)).Draw(t, "own"))
		s.MedfeeSumamt, s.FulamtOwnpayAmt, s.InscpScpAmt = SomeFen(total), SomeFen(own), SomeFen(total-own)
		s.OverlmtSelfpay, s.PreselfpayAmt = SomeFen(0), SomeFen(0)
		if err := CheckSettlement(s); err != nil {
			t.Fatal(err)
		}
		all := []*NullFen{
			&s.HifpPay, &s.CvlservPay, &s.HifesPay, &s.HifmiPay, &s.HifobPay, &s.MafPay, &s.OthPay, &s.HifdmPay, &s.AcctPay, &s.PsnCashPay,
			&s.HospPartAmt, &s.FundPaySumamt, &s.PsnPartAmt, &s.MedfeeSumamt, &s.FulamtOwnpayAmt, &s.InscpScpAmt, &s.OverlmtSelfpay, &s.PreselfpayAmt,
		}
		all[rapid.IntRange(0, len(all)-1).Draw(t, "which")].Fen += Fen(rapid.SampledFrom([]int64{-100, -1, 1, 100}).Draw(t, "by"))
		var sums *SumsError
		if err := CheckSettlement(s); !errors.As(err, &sums) {
			t.Fatalf("unnoticed: %v", err)
		}
	})
}

func TestFeeLines(t *testing.T) {
	total, err := CheckFeeLines(feeLines(3))
	if err != nil || total != 5250 {
		t.Errorf("total %s, %v", total, err)
	}
	for name, change := range map[string]func(*FeeDetail){
		"amount":       func(l *FeeDetail) { l.DetItemFeeSumamt++ },
		"serial":       func(l *FeeDetail) { l.FeedetlSN.Value = "1" },
		"visit":        func(l *FeeDetail) { l.MdtrtID = "M2" },
		"person":       func(l *FeeDetail) { l.PsnNo = "P2" },
		"batch":        func(l *FeeDetail) { l.ChrgBchno = "B2" },
		"no quantity":  func(l *FeeDetail) { l.Cnt, l.DetItemFeeSumamt = 0, 0 },
		"price":        func(l *FeeDetail) { l.Pric, l.DetItemFeeSumamt = -l.Pric, -l.DetItemFeeSumamt },
		"out of range": func(l *FeeDetail) { l.Pric, l.Cnt = 1<<62, 1<<62 },
	} {
		lines := feeLines(3)
		change(&lines[2])
		_, err := CheckFeeLines(lines)
		var bad *FeeLineError
		if !errors.As(err, &bad) || bad.Row != 2 || fault.Of(err).Code != fault.FeeLineInvalid || OutcomeOf(err) != NotSent {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := CheckFeeLines(nil); err == nil {
		t.Error("no lines pass")
	}
}

func TestSumSplit(t *testing.T) {
	row := FeeResult{DetItemFeeSumamt: SomeFen(1000), FulamtOwnpayAmt: SomeFen(100), OverlmtAmt: SomeFen(50), PreselfpayAmt: SomeFen(50), InscpScpAmt: SomeFen(800)}
	sum, err := SumSplit([]FeeResult{row, row})
	if want := (LineSplit{2000, 200, 100, 100, 1600}); err != nil || sum != want {
		t.Errorf("%+v, %v", sum, err)
	}
	bad := row
	bad.OverlmtAmt.Fen++
	var sums *SumsError
	if _, err := SumSplit([]FeeResult{row, bad}); !errors.As(err, &sums) || sums.Row != 1 || sums.Identity != 4 {
		t.Errorf("%v", err)
	}
	if _, err := SumSplit([]FeeResult{{DetItemFeeSumamt: SomeFen(1)}}); !errors.Is(err, ErrMalformed) {
		t.Errorf("no split: %v", err)
	}
}
