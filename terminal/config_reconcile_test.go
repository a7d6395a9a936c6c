package terminal

import (
	"errors"
	"slices"
	"testing"

	"onecard/settlement/region"
)

func TestReconcileConfig(t *testing.T) {
	for name, c := range map[string]ReconcileConfig{
		"time": {At: "2:30"}, "no time": {At: "24:00"}, "words": {At: "later"}, "days": {Days: 63}, "negative": {Days: -1}, "refunds": {Refunds: "some"},
		"code": {ClearingTypes: []string{"1 1"}}, "long": {InsuranceTypes: []string{"1234567"}}, "empty": {InsuranceTypes: []string{""}}, "office": {Office: "51"},
	} {
		if err := c.check(); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (ReconcileConfig{At: "00:00", Days: 62, Refunds: "netted", ClearingTypes: []string{"9907"}, InsuranceTypes: []string{"310"}, Office: "510100"}).check(); err != nil {
		t.Error(err)
	}
	if _, ok := (ReconcileConfig{At: "never"}).time(); ok {
		t.Error("never has a time")
	}
	// What the region says of look-ups counts for statements, too.
	r := new(region.Region)
	r.Lookup.SetlOptins, r.Lookup.ClrTypes = "510199", map[string][]string{"2207": {"11", "9907"}}
	p := ReconcileConfig{}.policy(UpstreamConfig{rules: r, Lane: 1, Lanes: 2})
	if p.Optins != "510199" || !slices.Equal(p.ClrTypes, []string{"11", "21", "41", "9907"}) || p.Lane != 1 || p.Lanes != 2 || p.Sole {
		t.Errorf("%+v", p)
	}
	p = ReconcileConfig{Office: "510100", ClearingTypes: []string{"41"}}.policy(UpstreamConfig{rules: r})
	if p.Optins != "510100" || !slices.Equal(p.ClrTypes, []string{"41"}) {
		t.Errorf("%+v", p)
	}
}
