package card_test

import (
	"strings"
	"testing"

	"onecard/card"
)

// What a card costs at a counter is commands: each takes a reader some 20 ms.
// Every benchmark counts them, against the fewest that the card permits (its
// derivation is in the comments) and against one command a record, the way of
// the drivers in use.

func counted(b *testing.B, name string, fewest, perRecord int, do func(c *card.Card, s *simConn)) {
	b.Run(name, func(b *testing.B) {
		base := example(b, "3.0")
		n := 0
		for b.Loop() {
			b.StopTimer()
			s := insertClone(base.card.Clone())
			c, err := card.Open(b.Context(), s)
			if err != nil {
				b.Fatal(err)
			}
			if err := c.VerifyPIN(b.Context(), card.PIN("123456")); err != nil {
				b.Fatal(err)
			}
			s.sent = nil
			b.StartTimer()
			do(c, &s.simConn)
			n = s.n - 3 // SELECT, READ EF05, VERIFY
		}
		b.ReportMetric(float64(n), "commands")
		b.ReportMetric(float64(fewest), "fewest")
		b.ReportMetric(float64(perRecord), "one-per-record")
		b.ReportMetric(float64(perRecord)/float64(n), "ratio")
	})
}

// Summary with PIN. Fewest: identity 4 (INTERNAL, CHALLENGE, EXTERNAL, READ),
// four directories, 13 linear files, EF07 of DF02, EF08 and EF15 of DF04 at one
// READ each, balance 3, CHALLENGE and EXTERNAL for PIN and key. One a record: the
// same with a SELECT for each file and a READ for each record.
func BenchmarkSummary(b *testing.B) {
	const records = 7 + 3 + 5 + 1 + 3 + 7 + 2 + 7 + 6 + 3 + 2 + 5 + 4 + 16 + 3 + 3 + 1
	counted(b, "3.0", 4+4+16+3+2, 4+4+17+records+3+2, func(c *card.Card, _ *simConn) {
		sum, err := c.Summary(b.Context(), &vault{})
		if err != nil || len(sum.Missing) != 0 {
			b.Fatal(err, sum.Missing)
		}
	})
}

// Rewriting the pension file, all six records. Fewest: SELECT, CHALLENGE,
// EXTERNAL, six UPDATE; our own reads the file before it plans, again before it
// writes (nothing is overwritten unseen) and once more to compare: 12. One a
// record: SELECT of directory and file, two of authentication, and for each
// record a READ before, an UPDATE and a READ after.
func BenchmarkRewritePension(b *testing.B) {
	counted(b, "3.0", 9, 2+2+3*6, func(c *card.Card, _ *simConn) {
		var list []card.Change
		for _, s := range strings.Fields("70=120 71=330100 6E=1998-07-02 6C=2008-07-13 6F=2008-08-02 73=2026-11-21") {
			ch, err := card.ParseChange(card.FileID{DF: "DF03", EF: "EF07"}, s)
			if err != nil {
				b.Fatal(err)
			}
			list = append(list, ch)
		}
		p, err := c.NewPlan(b.Context(), &vault{}, list...)
		if err == nil {
			err = c.Execute(b.Context(), &vault{}, newPlans(), p)
		}
		if err != nil {
			b.Fatal(err)
		}
	})
}

// A purchase: INIT and DEBIT once the directory is selected.
func BenchmarkPurchase(b *testing.B) {
	counted(b, "3.0", 3, 3, func(c *card.Card, _ *simConn) {
		if _, err := c.Purchase(b.Context(), &vault{}, newDebits(), order(1, 0, 0)); err != nil {
			b.Fatal(err)
		}
	})
}

// Elements decoded in a second: every file of a card, from the bytes of its
// answers to values with words.
func BenchmarkDecode(b *testing.B) {
	base := example(b, "3.0")
	c := verified(b, base)
	elements := 0
	for b.Loop() {
		files, _, err := c.ReadFiles(b.Context(), &vault{})
		if err != nil {
			b.Fatal(err)
		}
		elements = 0
		for _, f := range files {
			for _, r := range f.Records {
				elements += max(1, len(r.Members))
			}
		}
	}
	b.ReportMetric(float64(elements)*float64(b.N)/b.Elapsed().Seconds(), "elements/s")
}
