package card_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"onecard/card"
	"onecard/card/cardsim"
	"onecard/fault"
)

func TestSummaryWithPIN(t *testing.T) {
	s := example(t, "3.0")
	c := verified(t, s)
	s.commands()
	sum, err := c.Summary(t.Context(), &vault{})
	if err != nil {
		t.Fatal(err)
	}
	// Identity 4, four directories, 16 files (three of them cyclic: one more to
	// learn that there is nothing after), balance 3, PIN and key 2.
	if got := s.commands(); len(strings.Fields(got)) > 36 || strings.Count(got, "A4") != 4 || strings.Count(got, "82") != 2 {
		t.Errorf("%d commands: %s", len(strings.Fields(got)), got)
	}
	if len(sum.Missing) != 0 {
		t.Errorf("%+v", sum.Missing)
	}
	if sum.Household.Type.Code != "10" || sum.Household.Area.Text.ZH == "" || sum.Residence.Telephone != "02800000001" || sum.Residence.Contact != "欧阳小川" ||
		sum.Status.Code != "3" || sum.Employer.Personnel != "11" || sum.Registration.Employed.String() != "1999-03-01" || len(sum.Registration.UnemploymentType) != 3 ||
		len(sum.Jobs) != 2 || sum.Jobs[1].Employer != "成都样例棉纺厂" || sum.Pension.Type.Code != "110" || sum.RuralPension != nil ||
		sum.Dependant.BenefitStart.String() != "2019-04-01" || len(sum.Vouchers) != 2 || *sum.Vouchers[0].Contributed != 3841650 || *sum.Vouchers[0].Months != 120 ||
		sum.Medical.Person.Code != "21" || sum.Balance.Account != 123456 || sum.Balance.Year != 2026 || len(sum.Transactions) != 3 ||
		len(sum.Special) != 1 || sum.Special[0].Kind.Code != "9" || *sum.Offline.Count != 0 || sum.Identity.Holder.Name != "欧阳海燕" {
		b, _ := json.MarshalIndent(sum, "", " ")
		t.Errorf("%s", b)
	}
}

func TestSummaryOfEveryVersion(t *testing.T) {
	for _, image := range []string{"1.0", "2.0", "3.0"} {
		for _, q := range []cardsim.Quirk{cardsim.QuirkSpacePadded, cardsim.QuirkMode5Parameters, cardsim.QuirkGetResponse} {
			c := verified(t, example(t, image, cardsim.WithQuirks(q)))
			sum, err := c.Summary(t.Context(), &vault{})
			if err != nil || sum.Pension == nil || sum.Identity.Holder.Name == "" {
				t.Errorf("%s %s: %+v, %v", image, q, sum, err)
			}
			for _, m := range sum.Missing {
				t.Errorf("%s %s: %s %v", image, q, m.File, m.Reason)
			}
			if _, err := json.Marshal(sum); err != nil {
				t.Error(err)
			}
		}
	}
}

// What cannot be read is said, with the reason; everything else is there.
func TestSummarySaysWhatIsMissing(t *testing.T) {
	reasons := func(sum card.Summary) map[string]fault.Code {
		m := map[string]fault.Code{}
		for _, x := range sum.Missing {
			m[x.File.String()] = fault.Of(x.Reason).Code
		}
		return m
	}
	// Keys and no PIN: what PIN or key opens is there.
	sum, err := open(t, example(t, "3.0")).Summary(t.Context(), &vault{})
	if err != nil {
		t.Fatal(err)
	}
	if got := reasons(sum); len(got) != 2 || got["DF04EF08"] != fault.PINRequired || got["DF04EF06"] != fault.PINRequired || sum.Pension == nil || sum.Medical == nil {
		t.Errorf("%v", got)
	}
	// Neither: identity of a 2.0 card alone, and no command that cannot succeed.
	s := example(t, "2.0")
	c := open(t, s)
	s.commands()
	sum, err = c.Summary(t.Context(), nil)
	if err != nil || sum.Identity.Holder.Name != "张三" || s.commands() != "B2" {
		t.Errorf("%v", err)
	}
	for file, code := range reasons(sum) {
		if code != fault.PINRequired {
			t.Errorf("%s: %s", file, code)
		}
	}
	if len(sum.Missing) != 16 {
		t.Errorf("%d missing: %v", len(sum.Missing), reasons(sum))
	}
	b, err := json.Marshal(sum)
	if err != nil || !strings.Contains(string(b), `"code":"OC-1304"`) {
		t.Errorf("%s", b)
	}
	// A key holder that is down is asked once.
	down := &vault{}
	down.err = fault.New(fault.HSMUnreachable, "down")
	s = example(t, "3.0")
	sum, err = verified(t, s).Summary(t.Context(), down)
	if err != nil || down.internal.Load() != 1 || down.external.Load() > 1 {
		t.Errorf("asked %d and %d times, %v", down.internal.Load(), down.external.Load(), err)
	}
	if got := reasons(sum); len(got) != 1 || got["DF04EF06"] != fault.HSMUnreachable || sum.Pension == nil {
		t.Errorf("%v", got)
	}
	// A card that is not genuine shows what the PIN opens, and gets no keys.
	s = example(t, "2.0", cardsim.WithQuirks(cardsim.QuirkNotGenuine))
	sum, err = verified(t, s).Summary(t.Context(), &vault{})
	if err != nil || !errors.Is(sum.Identity.AuthError, card.ErrNotGenuine) || slices.Contains(strings.Fields(s.commands()), "82") || sum.Pension == nil {
		t.Errorf("%v", err)
	}
}
