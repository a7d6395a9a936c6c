package settlement

import (
	"errors"
	"strings"
	"testing"
)

func catalogue(t testing.TB, amendments ...string) *Catalogue {
	t.Helper()
	c, err := NewCatalogue(amendments...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEveryTransactionParses(t *testing.T) {
	c := catalogue(t)
	list := c.Transactions()
	if len(list) != 218 {
		t.Fatalf("%d transactions, want 218", len(list))
	}
	fields := 0
	for _, infno := range list {
		tx, err := c.Transaction(infno)
		if err != nil {
			t.Errorf("%s: %v", infno, err)
			continue
		}
		if len(tx.In)+len(tx.Out) == 0 {
			t.Errorf("%s has no fields", infno)
		}
		for _, nodes := range [][]*NodeSpec{tx.In, tx.Out} {
			for _, n := range nodes {
				fields += len(n.Fields)
			}
		}
	}
	if fields < 6500 {
		t.Errorf("%d fields, want about 6,600", fields)
	}
	if _, err := c.Transaction("4711"); !errors.Is(err, ErrTransactionUnknown) {
		t.Errorf("4711: %v", err)
	}
	for _, bad := range []string{"", "infno", "22", "1101\t", "\n1101"} {
		if tx, err := c.Transaction(bad); bad != "infno" && err == nil {
			t.Errorf("%q is %v", bad, tx)
		}
	}
}

// NewCatalogue finds an infno's rows as one run of the table.
func TestRowsOfOneInfnoStandTogether(t *testing.T) {
	seen, last := make(map[string]bool), ""
	for _, row := range strings.Split(strings.TrimSuffix(fieldsTSV, "\n"), "\n") {
		infno, _, _ := strings.Cut(row, "\t")
		if infno != last && seen[infno] {
			t.Fatalf("%s appears again", infno)
		}
		seen[infno], last = true, infno
	}
}

func TestAmendments(t *testing.T) {
	c := catalogue(t)
	if tx, _ := c.Transaction("2207A"); len(tx.In) == 0 || tx.In[0].Name != "data" {
		t.Error("2207A has no fields of 2207")
	}
	field := func(c *Catalogue, infno, node, name string) Field {
		t.Helper()
		tx, err := c.Transaction(infno)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range tx.In {
			if n.Name == node {
				return n.Fields[n.index[name]]
			}
		}
		t.Fatalf("%s has no node %s", infno, node)
		return Field{}
	}
	if f := field(c, "2204", "feedetail", "feedetl_sn"); f.Kind != EitherKind {
		t.Errorf("feedetl_sn is %s", f.Kind)
	}
	if f := field(c, "2201", "data", "psn_type"); f.Length != 3 {
		t.Errorf("psn_type of requests is %d long, want 3", f.Length)
	}
	const region = "infno\tnode\tfield\tproperty\tvalue\treason\n" +
		"2201\tdata\tpsn_type\tlength\t6\tthe region's codes are longer\n" +
		"2201\tdata\tatddr_no\trequired\tY\tthe region wants the physician\n"
	r := catalogue(t, region)
	if f := field(r, "2201", "data", "psn_type"); f.Length != 6 {
		t.Errorf("amended psn_type is %d long, want 6", f.Length)
	}
	if f := field(r, "2201", "data", "atddr_no"); !f.Required {
		t.Error("amended atddr_no is not required")
	}
	for _, bad := range []string{"x\n2201\tdata\tpsn_type\tlength\tsix", "x\n2201\tdata", "x\n2201\tdata\t\tshape\tround", "x\n2201\tdata\tpsn_type\tcolour\tred"} {
		if _, err := NewCatalogue(bad); err == nil {
			t.Errorf("accepted %q", bad)
		}
	}
}

func TestMeaning(t *testing.T) {
	c := catalogue(t)
	if text, ok := c.Meaning("mdtrt_cert_type", "03"); !ok || text != "社会保障卡" {
		t.Errorf("03 is %q, %v", text, ok)
	}
	if text, ok := c.Meaning("opter_type", "2"); ok {
		t.Errorf("2 is %q", text)
	}
}

func BenchmarkCatalogueReady(b *testing.B) {
	for b.Loop() {
		c := catalogue(b)
		if _, err := c.Transaction("2207"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCatalogueWhole(b *testing.B) {
	for b.Loop() {
		c := catalogue(b)
		for _, infno := range c.Transactions() {
			if _, err := c.Transaction(infno); err != nil {
				b.Fatal(err)
			}
		}
	}
}
