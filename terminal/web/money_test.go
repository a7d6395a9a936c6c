package web_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/chromedp/chromedp"

	"onecard/terminal/web/webtest"
)

// call runs an expression of the page's own modules in the browser.
func call[T any](t *testing.T, p *page, module, expression string, input any) T {
	t.Helper()
	b, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](fmt.Sprintf(`import("/%s").then((m) => { const input = %s; return %s; })`, module, b, expression), chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func modules(t *testing.T) *page {
	t.Helper()
	ctx, watch := webtest.Browser(t)
	d := newDesk()
	p := &page{T: t, ctx: ctx, desk: d, base: d.start(t).URL, watch: watch}
	p.open()
	return p
}

func TestMoney(t *testing.T) {
	p := modules(t)
	t.Run("amounts as exact as rational numbers", func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		pairs := [][2]string{{"0.005", "1"}, {"0.0049", "1"}, {"0.004999", "1"}, {"1.005", "1"}, {"2.675", "1"}, {"28.505", "2"}, {"0.000001", "5000"}, {"0.000001", "4999.9999"}, {"9999999999.999999", "999999999999.9999"}, {"0", "7"}, {"0.1", "3"}}
		for range 3000 {
			price := fmt.Sprintf("%d.%0*d", random.IntN(100000), 1+random.IntN(6), random.IntN(10))
			quantity := fmt.Sprintf("%d.%0*d", random.IntN(1000), 1+random.IntN(4), random.IntN(10))
			pairs = append(pairs, [2]string{price, quantity})
		}
		got := call[[]string](t, p, "money.js", `input.map(([price, quantity]) => String(m.amountOf(price, quantity)))`, pairs)
		for i, pair := range pairs {
			if i == 8 {
				continue // more than 64 bits: below
			}
			want, ok := exact(pair[0], pair[1])
			if !ok || got[i] != fmt.Sprint(want) {
				t.Errorf("%s x %s = %s fen, want %d", pair[0], pair[1], got[i], want)
			}
		}
		if got[8] != "999999999999999800000000" {
			t.Errorf("the largest amount is %s fen", got[8])
		}
	})
	t.Run("what people type", func(t *testing.T) {
		tests := []struct{ typed, canonical, fen string }{
			{"１２．５０", "12.5", "1250"}, {" ￥1,234.50 ", "1234.5", "123450"}, {"12元", "12", "1200"}, {"007", "7", "700"}, {"1。5", "1.5", "150"}, {"-3.2", "-3.2", "-320"}, {"12.", "12", "1200"},
			{"1,23", "1,23", "null"}, {"", "", "null"}, {"1.2.3", "1.2.3", "null"}, {"1e5", "1e5", "null"}, {"0x10", "0x10", "null"}, {"1.234", "1.234", "null"}, {"NaN", "NaN", "null"}, {"99999999999999999", "99999999999999999", "null"},
		}
		typed := make([]string, len(tests))
		for i, test := range tests {
			typed[i] = test.typed
		}
		got := call[[][2]string](t, p, "money.js", `input.map((each) => [m.canonical(each), String(m.parseFen(each))])`, typed)
		for i, test := range tests {
			if got[i] != [2]string{test.canonical, test.fen} {
				t.Errorf("%q is read as %q, want %q %q", test.typed, got[i], test.canonical, test.fen)
			}
		}
	})
	t.Run("in words and digits", func(t *testing.T) {
		tests := []struct{ amount, words, shown string }{
			{"0.00", "零元整", "0.00"}, {"0.05", "伍分", "0.05"}, {"0.50", "伍角整", "0.50"}, {"12.36", "壹拾贰元叁角陆分", "12.36"}, {"10.05", "壹拾元零伍分", "10.05"}, {"100.00", "壹佰元整", "100.00"},
			{"1001.20", "壹仟零壹元贰角整", "1,001.20"}, {"10000.00", "壹万元整", "10,000.00"}, {"100010.00", "壹拾万零壹拾元整", "100,010.00"}, {"1234567.89", "壹佰贰拾叁万肆仟伍佰陆拾柒元捌角玖分", "1,234,567.89"},
			{"100000001.00", "壹亿零壹元整", "100,000,001.00"}, {"-2.00", "负贰元整", "-2.00"}, {"abc", "", "abc"},
		}
		amounts := make([]string, len(tests))
		for i, test := range tests {
			amounts[i] = test.amount
		}
		got := call[[][2]string](t, p, "money.js", `input.map((each) => [m.inWords(each), m.shown(each)])`, amounts)
		for i, test := range tests {
			if got[i] != [2]string{test.words, test.shown} {
				t.Errorf("%s is %q, want %q %q", test.amount, got[i], test.words, test.shown)
			}
		}
	})
}

func TestPastedLists(t *testing.T) {
	p := modules(t)
	type row struct {
		Number  int
		Line    *webtest.Line
		Problem string
	}
	type list struct {
		Header  bool
		Rows    []row
		TooLong bool
	}
	line := func(code, name, quantity, price string) *webtest.Line {
		return &webtest.Line{Code: code, Name: name, Quantity: quantity, Price: price}
	}
	good := []row{{1, line("A1", "纱布", "2", "1.5"), ""}}
	tests := []struct {
		name, text string
		want       list
	}{
		{"empty", " \n\n", list{Rows: []row{}}},
		{"TAB", "A1\t纱布\t2\t1.5", list{Rows: good}},
		{"comma", "A1,纱布,2,1.50", list{Rows: good}},
		{"full-width comma and digits", "Ａ１，纱布，２，１．５", list{Rows: good}},
		{"spreadsheet: BOM, CRLF, amount", "\ufeffA1\t纱布\t2\t1.5\t3.00\r\n", list{Rows: good}},
		{"header in another order", "单价,数量,项目名称,备注,收费编码\n1.5,2,纱布,随便,A1", list{Header: true, Rows: []row{{2, good[0].Line, ""}}}},
		{"English header", "Item Code\tName\tQty\tUnit Price\nA1\t纱布\t2\t1.5", list{Header: true, Rows: []row{{2, good[0].Line, ""}}}},
		{"header without price", "编码,名称,数量\nA1,纱布,2", list{Header: true, Rows: []row{{2, nil, "problem.columns.missing"}}}},
		{"quotes", `A1,"纱布 ""大"", 4 层",2,"1,234.5"`, list{Rows: []row{{1, line("A1", `纱布 "大", 4 层`, "2", "1234.5"), ""}}}},
		{"too few columns", "A1,纱布,2", list{Rows: []row{{1, nil, "problem.columns"}}}},
		{"an unquoted comma in the name", "A1,纱布,大号,2,1.5,3.00", list{Rows: []row{{1, nil, "problem.columns.many"}}}},
		{"trailing separators", "A1,纱布,2,1.5,,,", list{Rows: good}},
		{"wrong amount", "A1,纱布,2,1.5,3.01", list{Rows: []row{{1, nil, "problem.amount"}}}},
		{"no code", ",纱布,2,1.5", list{Rows: []row{{1, nil, "problem.code"}}}},
		{"no name", "A1,,2,1.5", list{Rows: []row{{1, nil, "problem.name"}}}},
		{"negative quantity", "A1,纱布,-2,1.5", list{Rows: []row{{1, nil, "problem.quantity"}}}},
		{"five decimals of quantity", "A1,纱布,0.00001,1.5", list{Rows: []row{{1, nil, "problem.quantity"}}}},
		{"seven decimals of price", "A1,纱布,1,1.0000001", list{Rows: []row{{1, nil, "problem.price"}}}},
		{"line numbers count empty lines", "\n\nA1,纱布,2,1.5\n\nA2,棉签,0,1", list{Rows: []row{{3, good[0].Line, ""}, {5, nil, "problem.quantity"}}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := call[string](t, p, "paste.js", `(({ header, rows, tooLong }) => JSON.stringify({ header, rows: rows.map(({ number, line, problem }) => ({ number, line, problem: problem ?? "" })), tooLong }))(m.parsePasted(input))`, test.text)
			var read list
			if err := json.Unmarshal([]byte(got), &read); err != nil {
				t.Fatal(err)
			}
			a, _ := json.Marshal(read)
			b, _ := json.Marshal(test.want)
			if string(a) != string(b) {
				t.Errorf("read\n%s\nwant\n%s", a, b)
			}
		})
	}
	t.Run("bounded", func(t *testing.T) {
		got := call[[]any](t, p, "paste.js", `((list) => [list.rows.length, list.tooLong])(m.parsePasted("A1,纱布,2,1.5\n".repeat(100000)))`, nil)
		if got[0] != float64(500) || got[1] != true {
			t.Errorf("100000 lines are read as %v", got)
		}
	})
}
