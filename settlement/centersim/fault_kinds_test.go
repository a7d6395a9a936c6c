package centersim

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
)

// TestFlapping: a line that is down for two requests and up for two loses an
// answer now before, now after the booking.
func TestFlapping(t *testing.T) {
	w := newWire(t, Config{Repeat: RepeatBook})
	order(t, w.c, "2207:flap=2@8")
	got := ""
	body := encode(w.envelope("2207", w.visit.area, w.visit.settleInput("B1", w.sums, true)))
	for range 9 {
		booked := len(w.c.Settlements())
		a, err := w.server.Client().Post(w.server.URL+paths["2207"], "application/json", bytes.NewReader(body))
		switch booked = len(w.c.Settlements()) - booked; {
		case err != nil:
			got += []string{"before ", "after "}[booked]
		case booked == 1:
			a.Body.Close()
			got += "up "
		default:
			t.Fatalf("answered %s and booked %d", a.Status, booked)
		}
	}
	if want := "before after up up before after up up up "; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	// By an odd number the next fall begins where the last one ended.
	m := ""
	for n := range 12 {
		x := met{}
		x.flap(n, 3)
		switch {
		case len(x) == 0:
			m += "u"
		case x[DropBefore].Kind == DropBefore:
			m += "b"
		case x[DropAfter].Kind == DropAfter:
			m += "a"
		}
	}
	if m != "babuuuabauuu" {
		t.Errorf("by three: %s", m)
	}
}

// TestDuplicateSetl: two settlements, one setl_id in the answers.
func TestDuplicateSetl(t *testing.T) {
	d := newDesk(start(t, Config{}))
	d.signIn(t)
	_, _, first := d.settleOne(t, "张三", "MZ1", "300")
	order(t, d.c, "2207:duplicate-setl")
	_, _, second := d.settleOne(t, "王秀英", "MZ2", "300")
	booked := d.c.Settlements()
	if second.text("setl_id") != first.text("setl_id") || booked[0].SetlID == booked[1].SetlID {
		t.Errorf("answered %s and %s, booked %s and %s", first.text("setl_id"), second.text("setl_id"), booked[0].SetlID, booked[1].SetlID)
	}
}

// TestForeignRows: the result of a comparison names a msgid that is not ours.
func TestForeignRows(t *testing.T) {
	d := newDesk(start(t, Config{}))
	d.signIn(t)
	d.settleOne(t, "张三", "MZ1", "300")
	name := "s.zip"
	empty := &statement{}
	number := d.upload(t, name, empty.zip(t))
	info := d.call(t, "3202", "", empty.input("file_qury_no", number))["fileinfo"].(map[string]any)
	order(t, d.c, "9102:foreign-msgid")
	ask := encode(d.envelope("9102", "", msg{"fsDownloadIn": msg{
		"file_qury_no": info["file_qury_no"], "filename": info["filename"], "fixmedins_code": "H51010000001",
	}}))
	for _, want := range []string{foreignMsgID, d.c.Settlements()[0].MsgID} {
		text, err := unzip(d.post(paths["9102"], ask).Body.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if columns := strings.Split(string(text), "\t"); len(columns) != 10 || columns[3] != want {
			t.Errorf("%q, want the msgid %s", text, want)
		}
	}
}

// TestHugeAnswer: 200 MB, as a stream that nobody needs to hold.
func TestHugeAnswer(t *testing.T) {
	w := newWire(t, Config{})
	order(t, w.c, "2206:oversize=200000000")
	body := encode(w.envelope("2206", w.visit.area, w.visit.settleInput("B1", w.sums, true)))
	a, err := w.server.Client().Post(w.server.URL+paths["2206"], "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	if n, err := io.Copy(io.Discard, a.Body); err != nil || n < 200_000_000 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// TestFaultKinds: every kind is explained here and in the documentation, and
// can be ordered as it is explained.
func TestFaultKinds(t *testing.T) {
	document, err := os.ReadFile("../../docs/centersim.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(document), "## Misfortunes to order")
	for _, k := range FaultKinds() {
		text := "any:" + string(k.Kind)
		if k.Value != "" {
			text += "=" + k.Value
		}
		if _, err := ParseFault(text); err != nil || k.Chinese == "" || k.English == "" {
			t.Errorf("%s: %v", text, err)
		}
		if !strings.Contains(table, "`"+string(k.Kind)+"`") && !strings.Contains(table, "`"+string(k.Kind)+"=") {
			t.Errorf("docs/centersim.md does not name %s", k.Kind)
		}
	}
	// Nobody loses a card in a sign-in.
	d := newDesk(start(t, Config{}))
	order(t, d.c, "any:lost-card@2")
	d.signIn(t)
	_, id := d.patient("张三")
	d.refused(t, d.envelope("1101", "", msg{"data": id}), "已挂失")
	if left := d.c.Ordered(); len(left) != 1 || left[0].Count != 1 {
		t.Errorf("still ordered: %v", left)
	}
}

func order(t *testing.T, c *Center, text string) {
	t.Helper()
	f, err := ParseFault(text)
	if err == nil {
		err = c.Order(f)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// FuzzParseFault: what is read can be ordered, and is written as it is read.
func FuzzParseFault(f *testing.F) {
	for _, k := range FaultKinds() {
		f.Add("any:" + string(k.Kind) + "=" + k.Value + "@2")
		f.Add("2207:" + string(k.Kind) + "@always")
	}
	f.Add("2207:refuse=@@@1")
	f.Fuzz(func(t *testing.T, text string) {
		x, err := ParseFault(text)
		if err != nil {
			return
		}
		if again, err := ParseFault(x.String()); err != nil || again != x {
			t.Fatalf("%q is %+v, written %q, read %+v %v", text, x, x, again, err)
		}
		l := newFaultList()
		if err := l.order(x); err != nil {
			t.Fatal(err)
		}
		l.take(x.Infno)
	})
}
