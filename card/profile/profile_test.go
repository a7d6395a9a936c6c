package profile

import "testing"

func TestReferenceLoads(t *testing.T) {
	p, err := Load(tables)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(p.Elements()); got != 297 {
		t.Errorf("%d elements, the table has 297", got)
	}
	for _, f := range p.Files() {
		t.Logf("%s %s read %s / %s / %s write %s, %d elements, %d in 1.0", f.ID(), f.Structure, f.ReadAccess(V10), f.ReadAccess(V20), f.ReadAccess(V30), f.WriteAccess(V30), len(f.Elements), len(f.ElementsV1))
	}
}
