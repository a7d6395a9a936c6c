package centersim

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

// filledIn makes the smallest input that the table allows for a transaction.
func filledIn(t *testing.T, c *Center, infno string) msg {
	t.Helper()
	input := msg{}
	for _, f := range c.table[infno] {
		if input[f.node] == nil {
			input[f.node] = msg{"exp_content": ""}
		}
		if !f.required {
			continue
		}
		var v any = "1"
		switch f.kind {
		case "number":
			v = 1
		case "date":
			v = "2026-05-20"
		case "datetime":
			v = "2026-05-20 12:00:00"
		case "object":
			v = msg{}
		}
		input[f.node].(msg)[f.name] = v
	}
	return input
}

// TestUploads: every upload is checked field by field, booked and survives a
// restart; what is personal is not in the ledger.
func TestUploads(t *testing.T) {
	name := t.TempDir() + "/l"
	c, err := New(Config{Ledger: name, Now: noon().now})
	if err != nil {
		t.Fatal(err)
	}
	d := newDesk(c)
	d.signIn(t)
	v, _, info := d.settleOne(t, "张三", "MZ1", "300")
	own := []any{"mdtrt_id", v.mdtrtID, "psn_no", v.p.PsnNo}
	for infno := range uploads {
		input := filledIn(t, c, infno)
		first := c.table[infno][0].node
		input[first] = with(input[first].(msg), own...)
		for _, node := range input {
			if node.(msg)["setl_id"] != nil {
				node.(msg)["setl_id"] = info.text("setl_id")
			}
			if node.(msg)["mdtrt_id"] != nil {
				node.(msg)["mdtrt_id"] = v.mdtrtID
			}
			if node.(msg)["psn_no"] != nil {
				node.(msg)["psn_no"] = v.p.PsnNo
			}
		}
		if infno == "4102" {
			continue // after 4101, below
		}
		for _, f := range c.table[infno] {
			if f.required && f.node == first {
				bad := msg{}
				for node, x := range input {
					bad[node] = x
				}
				bad[first] = with(input[first].(msg), f.name, nil)
				d.refused(t, d.envelope(infno, v.area, bad), f.name)
				break
			}
		}
		booked := c.ledger.seq
		d.call(t, infno, v.area, input)
		if c.ledger.seq != booked+1 {
			t.Errorf("%s is not in the ledger", infno)
		}
		delete(input, first)
		d.refused(t, d.envelope(infno, v.area, input), "缺少节点")
	}
	list := filledIn(t, c, "4101")
	list = msg{"setlinfo": with(list["setlinfo"].(msg), append(own, "setl_id", info.text("setl_id"))...)}
	d.refused(t, d.envelope("4101", v.area, list), "已上传")
	list["setlinfo"].(msg)["setl_id"] = "2"
	d.refused(t, d.envelope("4101", v.area, list), "未查询到结算信息")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	ledger, err := os.ReadFile(name)
	if err != nil || strings.Contains(string(ledger), v.p.Certno) || strings.Contains(string(ledger), v.p.PsnName) {
		t.Errorf("the ledger holds personal data, or: %v", err)
	}
	d2 := newDesk(start(t, Config{Ledger: name}))
	d2.n, d2.signNo = d.n, d.signNo
	change := filledIn(t, d2.c, "4102")
	change["data"] = with(change["data"].(msg), "setl_id", info.text("setl_id"), "psn_no", v.p.PsnNo)
	d2.call(t, "4102", v.area, change)
	_, _, other := d2.settleOne(t, "王秀英", "MZ2", "300")
	change["data"] = with(change["data"].(msg), "setl_id", other.text("setl_id"), "psn_no", nil)
	d2.refused(t, d2.envelope("4102", v.area, change), "")
}

// TestEveryTransaction: what the table lists is answered, what is answered is
// in the documentation, and nothing else is.
func TestEveryTransaction(t *testing.T) {
	c := start(t, Config{})
	for infno := range c.table {
		if infno != "ENVELOPE" && !served(infno) {
			t.Errorf("fields.tsv has %s, which is not served", infno)
		}
	}
	d := newDesk(c)
	d.signIn(t)
	all := map[string]bool{}
	for infno := range paths {
		all[infno] = true
	}
	for infno := range uploads {
		all[infno] = true
	}
	for _, infno := range others {
		all[infno] = true
	}
	for infno := range all {
		a := d.send(t, d.envelope(infno, "510100", msg{}))
		if text, _ := a["err_msg"].(string); a["infcode"] == json.Number("-1") && strings.Contains(text, "不存在或未开通") {
			t.Errorf("%s: %s", infno, text)
		}
	}
	for _, infno := range []string{"9999", "2207B", "", "ENVELOPE", "1301"} {
		if served(infno) {
			t.Errorf("%q is served", infno)
		}
	}
	d.refused(t, d.envelope("1301", "510100", msg{}), "不存在或未开通")
	document, err := os.ReadFile("../../docs/centersim.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(document), "<!-- transactions -->")
	text, _, ok2 := strings.Cut(text, "<!-- end -->")
	if !ok || !ok2 {
		t.Fatal("docs/centersim.md has no table of transactions")
	}
	named := map[string]bool{}
	for _, infno := range regexp.MustCompile(`\b[0-9]{4}A?\b`).FindAllString(text, -1) {
		named[infno] = true
	}
	for infno := range all {
		if !named[infno] {
			t.Errorf("docs/centersim.md does not name %s", infno)
		}
	}
	for infno := range named {
		if !all[infno] {
			t.Errorf("docs/centersim.md names %s, which is not answered", infno)
		}
	}
}
