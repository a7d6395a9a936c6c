package terminal

import (
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"onecard/settlement"
)

// ReconcileDue is what a desk that is started at a time with a journal would
// compare, and when it would look again.
func ReconcileDue(t *testing.T, journal string, at time.Time, c ReconcileConfig) ([]string, time.Time, error) {
	t.Helper()
	now := func() time.Time { return at }
	j, err := settlement.OpenJournal(journal, now)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}()
	s := New(Config{Reconcile: c}, Parts{Journal: j, Now: now, Log: logrus.New()})
	return s.reconcileDue(t.Context())
}

func TestHarmlessCell(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "张三": "张三", "1.50": "1.50", "a=b": "a=b", "机构无此结算": "机构无此结算",
		"=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@SUM(A1)": "'@SUM(A1)", "\t=1": "'\t=1", "\r=1": "'\r=1", " =1": "' =1", "\n1": "'\n1",
		"＝1": "'＝1", "|cmd": "'|cmd", "  ": "  ",
	} {
		if got := harmlessCell(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

func TestColumn(t *testing.T) {
	for i, want := range map[int]string{0: "A", 25: "Z", 26: "AA", 27: "AB", 51: "AZ", 52: "BA", 701: "ZZ", 702: "AAA"} {
		if got := column(i); got != want {
			t.Errorf("%d is %s, want %s", i, got, want)
		}
	}
}
