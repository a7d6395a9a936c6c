package web_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"onecard/terminal/web/webtest"
)

// pageTests are the scenarios; all of them share one browser, each has its own
// desk and its own tab.
var pageTests = []struct {
	name string
	play func(*page)
}{
	{"visit by keyboard", playVisit},
	{"visit in English", playEnglish},
	{"fields by Enter", playEnter},
	{"delete, undo, change", playDelete},
	{"abandon", playAbandon},
	{"reload shows the truth", playReload},
	{"paste with errors", playPaste},
	{"settle is sent once", playOnce},
	{"held Enter does not confirm", playHeldEnter},
	{"connection lost and back", playLost},
	{"outcome unknown", playUnknown},
	{"sums disagree", playSums},
	{"refused", playRefused},
	{"service computes wrongly", playSkew},
	{"masked until asked", playMasked},
	{"card changed while asked", playSwap},
	{"PIN at the pad", playPIN},
	{"not authenticated", playNotAuthenticated},
	{"reader states", playReader},
	{"health", playHealth},
	{"hostile strings", playHostile},
	{"huge lists", playHuge},
	{"journal", playJournal},
	{"ask again and resolve", playResolve},
	{"print", playPrint},
	{"refund", playRefund},
	{"refund in doubt", playRefundLost},
	{"visits that go on", playWaiting},
	{"stay", playStay},
	{"accessible", playAccessible},
	{"Tab goes round", playTab},
	{"storage and address", playStorage},
	{"last patient's card", playLastCard},
}

func TestPage(t *testing.T) {
	browser, _ := webtest.Browser(t)
	for _, test := range pageTests {
		t.Run(test.name, func(t *testing.T) {
			d := newDesk()
			server := d.start(t)
			ctx, watch := webtest.Tab(t, browser)
			p := &page{T: t, ctx: ctx, desk: d, base: server.URL, watch: watch}
			d.insert()
			test.play(p)
			watch.Check(t, server.URL)
		})
	}
}

// A page is one tab with the desk behind it.
type page struct {
	*testing.T
	ctx   context.Context
	desk  *desk
	base  string
	watch *webtest.Watch
}

func (p *page) must(err error) {
	p.Helper()
	if err != nil {
		p.shot("failure")
		p.Fatal(err)
	}
}

func (p *page) open() {
	p.Helper()
	p.must(webtest.Open(p.ctx, p.base))
}

func (p *page) wait(expression string) {
	p.Helper()
	p.must(webtest.Wait(p.ctx, expression))
}

func (p *page) key(keys string, modifiers ...chromedp.Modifier) {
	p.Helper()
	p.must(webtest.Key(p.ctx, keys, modifiers...))
}

func (p *page) text(selector string) string {
	p.Helper()
	text, err := webtest.Text(p.ctx, selector)
	p.must(err)
	return text
}

func eval[T any](p *page, expression string) T {
	p.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	p.must(err)
	return v
}

func (p *page) focused(id string) {
	p.Helper()
	at, err := webtest.Focused(p.ctx)
	p.must(err)
	if at != id {
		p.Errorf("the focus is on %q, want %q", at, id)
	}
}

func (p *page) shows(selector string, wanted ...string) {
	p.Helper()
	text := p.text(selector)
	for _, w := range wanted {
		if !strings.Contains(text, w) {
			p.Errorf("%s lacks %q:\n%s", selector, w, text)
		}
	}
}

func (p *page) hides(selector string, unwanted ...string) {
	p.Helper()
	text := p.text(selector)
	for _, u := range unwanted {
		if strings.Contains(text, u) {
			p.Errorf("%s shows %q:\n%s", selector, u, text)
		}
	}
}

// shot keeps a picture of the page where SHOTS names a directory.
func (p *page) shot(name string) {
	p.Helper()
	dir := os.Getenv("SHOTS")
	if dir == "" {
		return
	}
	png, err := webtest.Screenshot(p.ctx)
	if err != nil {
		p.Logf("screenshot: %v", err)
		return
	}
	file := fmt.Sprintf("%s-%s.png", strings.ReplaceAll(filepath.Base(p.Name()), " ", "_"), name)
	if err := os.WriteFile(filepath.Join(dir, file), png, 0o600); err != nil {
		p.Fatal(err)
	}
}

var (
	consultation = webtest.Line{Code: "110100001", Name: "门诊诊察费", Quantity: "1", Price: "20.00"}
	tablets      = webtest.Line{Code: "YA01", Name: "硝苯地平控释片", Quantity: "２", Price: "28.505"}
	pad          = webtest.Line{Code: "ZB01", Name: "一次性护理垫", Quantity: "1", Price: "6.66"}
)

// toFees opens the page, starts a visit and enters two lines of 77.01 together.
func (p *page) toFees() {
	p.Helper()
	p.open()
	p.must(webtest.StartVisit(p.ctx))
	p.must(webtest.AddLine(p.ctx, consultation))
	p.must(webtest.AddLine(p.ctx, tablets))
}

func (p *page) toTrial() {
	p.Helper()
	p.toFees()
	p.must(webtest.Trial(p.ctx, &webtest.Outcome{}))
}

func playVisit(p *page) {
	p.desk.remove()
	p.open()
	p.must(webtest.WaitStep(p.ctx, "waiting"))
	p.shows("#card-panel", "请插入社会保障卡", "等待插卡")
	p.shot("1-waiting")
	p.desk.setReader("reading", nil, nil)
	p.must(webtest.WaitStep(p.ctx, "reading"))
	p.shows("#card-panel", "正在读卡", "不要取出")
	p.shot("2-reading")
	p.desk.insert()
	p.must(webtest.WaitStep(p.ctx, "ready"))
	p.focused("start-visit")
	p.shows("#card-panel", "欧**燕", "卡片已通过认证", "3.00", "2022年3月1日 至 2032年2月28日")
	p.shot("3-ready")
	p.must(webtest.AskPIN(p.ctx))
	for file, wanted := range map[string]string{"DF03EF07": "卡上没有登记\n养老保险信息更新日期", "DF03EF05": "120 个月", "DF04EF05": "OC-1204"} {
		text, err := webtest.Record(p.ctx, file)
		p.must(err)
		if !strings.Contains(text, wanted) {
			p.Errorf("record %s lacks %q:\n%s", file, wanted, text)
		}
	}
	p.shot("4-records")
	p.must(webtest.StartVisit(p.ctx))
	p.focused("line-code")
	p.shot("5-fees-empty")
	for _, line := range []webtest.Line{consultation, tablets, pad} {
		p.must(webtest.AddLine(p.ctx, line))
		p.focused("line-code")
	}
	p.shows("#lines", "28.505", "57.01", "83.67")
	p.shot("6-fees")
	var outcome webtest.Outcome
	p.must(webtest.Trial(p.ctx, &outcome))
	p.focused("settle")
	p.shot("7-trial")
	if outcome.Total != "¥ 83.67" || outcome.Fund != "¥ 42.91" || outcome.Account != "¥ 28.40" || outcome.ToPay != "¥ 12.36" {
		p.Errorf("the trial shows %+v", outcome)
	}
	p.shows("#trial-why", "全自费", "¥ 6.66", "先行自付", "¥ 5.70", "政策范围内", "¥ 71.31", "起付线", "¥ 10.00")
	asked, err := webtest.Confirm(p.ctx)
	p.must(err)
	if !strings.Contains(asked, "¥ 12.36") || !strings.Contains(asked, "壹拾贰元叁角陆分") {
		p.Errorf("the confirmation does not repeat the amount:\n%s", asked)
	}
	p.shot("8-confirm")
	p.key(kb.Escape)
	p.wait(`!document.getElementById("settle-dialog").open`)
	if n := p.desk.count("POST /v1/visits/V20261121-0001/settle"); n != 0 {
		p.Fatalf("%d settlements were sent after Escape", n)
	}
	p.must(webtest.Settle(p.ctx))
	p.focused("print")
	receipt, err := webtest.ReadReceipt(p.ctx)
	p.must(err)
	if receipt.SettlementID != "S0001" || receipt.Cash != "¥ 12.36" {
		p.Errorf("the receipt shows %+v", receipt)
	}
	p.shot("9-receipt")
	p.desk.remove()
	p.must(webtest.NextPatient(p.ctx))
	p.must(webtest.WaitStep(p.ctx, "waiting"))
	rows, err := webtest.Journal(p.ctx)
	p.must(err)
	if len(rows) != 1 || !strings.Contains(rows[0], "已结算") || !strings.Contains(rows[0], "83.67") {
		p.Errorf("the journal shows %q", rows)
	}
	p.focused("journal-heading")
}

func playEnglish(p *page) {
	outcome, err := webtest.PlayVisit(p.ctx, p.base, webtest.Script{English: true, PIN: true, Records: []string{"DF03EF07"}, Lines: []webtest.Line{consultation}, Pasted: "code\tname\tqty\tprice\nZB01\tpad\t1\t6.66\n"})
	p.must(err)
	p.shot("receipt")
	if !strings.Contains(outcome.Records["DF03EF07"], "Enterprise employees' basic pension") {
		p.Errorf("the pension file shows %q", outcome.Records["DF03EF07"])
	}
	if !strings.Contains(outcome.Receipt.Text, "Medical insurance settlement receipt") || outcome.ToPay != "¥ 6.66" {
		p.Errorf("the visit came to %+v", outcome)
	}
	// Nothing of the page's own text stays behind in Chinese.
	left := eval[[]string](p, `[...document.querySelectorAll("[data-t]")].filter((n) => /[\u4e00-\u9fff]/.test(n.textContent) && n.dataset.t !== "help.AltL").map((n) => n.dataset.t)`)
	if len(left) > 0 {
		p.Errorf("not translated: %v", left)
	}
	p.open()
	p.wait(`document.documentElement.lang === "en"`)
	p.shows("#receipt", "Paid by the patient")
	p.key("l", chromedp.ModifierAlt)
	p.wait(`document.documentElement.lang === "zh-CN"`)
	p.shows("#receipt", "个人支付")
}

func playEnter(p *page) {
	p.open()
	p.must(webtest.StartVisit(p.ctx))
	type step struct{ typed, next string }
	for _, s := range []step{{"", "line-code"}, {"X1", "line-name"}, {"注射费", "line-quantity"}, {"", "line-price"}, {"1.2.3", "line-price"}} {
		if s.typed != "" {
			p.must(webtest.Fill(p.ctx, s.typed))
		}
		p.key(kb.Enter)
		p.focused(s.next)
	}
	p.shows("#line-problem", "单价应为数字")
	p.must(webtest.Fill(p.ctx, "１２．５０"))
	p.shows("#line-amount", "12.50")
	p.key(kb.Enter)
	p.wait(`document.querySelectorAll("#lines-body tr").length === 1 && document.activeElement.id === "line-code"`)
	p.shows("#lines-body", "X1", "注射费", "12.50")
	// The price list fills in name and price.
	p.must(webtest.Type(p.ctx, "110100001"))
	p.wait(`document.querySelector("#line-suggestions option[value='110100001']")`)
	p.key(kb.Enter)
	p.focused("line-quantity")
	p.must(webtest.Fill(p.ctx, "3"))
	p.key(kb.Enter)
	p.wait(`document.querySelectorAll("#lines-body tr").length === 2`)
	p.shows("#lines", "门诊诊察费", "60.00", "72.50")
}

func playDelete(p *page) {
	p.toFees()
	p.must(webtest.TabTo(p.ctx, "delete-0"))
	p.key(kb.Enter)
	p.wait(`document.querySelectorAll("#lines-body tr").length === 1 && document.activeElement.id === "undo"`)
	p.shows("#undo-bar", "已删除：门诊诊察费")
	p.shot("undo")
	p.key(kb.Enter)
	p.wait(`document.querySelectorAll("#lines-body tr").length === 2 && document.body.dataset.busy === "false"`)
	p.shows("#lines-body tr", "门诊诊察费")
	p.shows("#lines-total", "77.01")
	p.must(webtest.TabTo(p.ctx, "edit-1"))
	p.key(kb.Enter)
	p.focused("line-quantity")
	p.must(webtest.Fill(p.ctx, "3"))
	p.key(kb.Enter)
	p.wait(`document.getElementById("lines-total").textContent === "105.52" && document.body.dataset.busy === "false"`)
	if n := eval[int](p, `document.querySelectorAll("#lines-body tr").length`); n != 2 {
		p.Errorf("%d lines after a change of one of two", n)
	}
	p.must(webtest.TabTo(p.ctx, "edit-0"))
	p.key(kb.Enter)
	p.key(kb.Escape)
	p.wait(`document.getElementById("line-code").value === ""`)
}

func playAbandon(p *page) {
	p.toFees()
	p.must(webtest.TabTo(p.ctx, "abandon"))
	p.key(kb.Enter)
	p.wait(`document.activeElement.id === "abandon-cancel"`)
	p.must(webtest.TabTo(p.ctx, "abandon-confirm"))
	p.key(kb.Enter)
	p.must(webtest.WaitStep(p.ctx, "ready"))
	p.focused("start-visit")
	// A visit whose registration broke off can be given up, too.
	p.must(webtest.StartVisit(p.ctx))
	p.desk.with(func() {
		v := p.desk.state["visit"].(object)
		v["state"], v["next"] = "opening", []string{}
	})
	p.must(webtest.WaitStep(p.ctx, "opening"))
	p.shows("#visit-panel", "登记没有完成")
	p.must(webtest.TabTo(p.ctx, "abandon"))
	p.key(kb.Enter)
	p.must(webtest.TabTo(p.ctx, "abandon-confirm"))
	p.key(kb.Enter)
	p.must(webtest.WaitStep(p.ctx, "ready"))
}

func playReload(p *page) {
	reload := func(step string) {
		p.Helper()
		p.open()
		p.must(webtest.WaitStep(p.ctx, step))
	}
	p.toFees()
	reload("fees")
	p.shows("#lines", "硝苯地平控释片", "77.01")
	p.must(webtest.Trial(p.ctx, &webtest.Outcome{}))
	reload("tried")
	p.shows("#trial-cash", "5.70")
	release := p.desk.hold("/v1/visits/V20261121-0001/settle")
	_, err := webtest.Confirm(p.ctx)
	p.must(err)
	p.key(kb.Enter)
	p.wait(`document.body.dataset.busy === "true"`)
	p.desk.with(func() { p.desk.state["visit"].(object)["state"] = "settling" })
	p.must(webtest.Wait(p.ctx, `document.body.dataset.step === "settling"`))
	p.open()
	p.must(webtest.WaitStep(p.ctx, "settling"))
	p.shows("#settling", "正在结算", "不要取出卡")
	p.shot("settling")
	p.desk.with(func() { p.desk.state["visit"].(object)["state"] = "tried" })
	release()
	p.must(webtest.WaitStep(p.ctx, "tried"))
	p.must(webtest.Settle(p.ctx))
	reload("settled")
	p.shows("#receipt", "S0001")
}

func playPaste(p *page) {
	p.toFees()
	p.must(webtest.OpenPaste(p.ctx, "收费编码,项目名称,数量,单价,金额\nA1,\"纱布,大\",２,1.505,3.01\nA2,棉签,0,1.00\nA3,碘伏,1,abc\n,无码,1,1\nA5,绷带,1,2.00,9.99\n"))
	p.wait(`document.querySelectorAll("#paste-body tr").length === 5`)
	p.shows("#paste-summary", "已识别标题行", "4 行有错")
	p.shows("#paste-body", "纱布,大", "数量应大于 0", "单价应为数字", "请填写项目编码", "金额不等于数量乘单价")
	p.shot("errors")
	p.must(webtest.TabTo(p.ctx, "paste-add"))
	p.key(kb.Enter)
	p.focused("paste-text")
	if n := p.desk.count("PUT /v1/visits/V20261121-0001/lines"); n != 2 {
		p.Errorf("%d lists were sent, want 2: the wrong lines must not be", n)
	}
	p.key(kb.Escape)
	p.wait(`!document.getElementById("paste-dialog").open`)
	p.focused("line-code")
	p.must(webtest.Paste(p.ctx, "A1\t纱布\t２\t1.505\nA2\t棉签\t10\t0.1\n"))
	p.wait(`document.querySelectorAll("#lines-body tr").length === 4`)
	p.shows("#lines-total", "81.02")
}

func playOnce(p *page) {
	p.toTrial()
	release := p.desk.hold("/v1/visits/V20261121-0001/settle")
	_, err := webtest.Confirm(p.ctx)
	p.must(err)
	p.must(chromedp.Do(p.ctx, chromedp.DoubleClick(chromedp.ID("settle-confirm"))))
	for range 3 {
		p.key(kb.F8)
		p.key(kb.Enter)
	}
	p.wait(`document.body.dataset.busy === "true" && document.getElementById("settle").getAttribute("aria-busy") === "true"`)
	p.shot("busy")
	release()
	p.must(webtest.WaitStep(p.ctx, "settled"))
	if n := p.desk.count("POST /v1/visits/V20261121-0001/settle"); n != 1 {
		p.Errorf("%d settlements were sent, want 1", n)
	}
}

func playLastCard(p *page) {
	p.toTrial()
	p.must(webtest.Settle(p.ctx))
	p.must(webtest.NextPatient(p.ctx))
	p.must(webtest.WaitStep(p.ctx, "ready"))
	p.focused("card-heading")
	p.shows("#register-blocked", "上一位的卡还在读卡器里")
	p.desk.remove()
	p.must(webtest.WaitStep(p.ctx, "waiting"))
	p.desk.insert()
	p.must(webtest.WaitStep(p.ctx, "ready"))
	p.focused("start-visit")
	p.hides("#register", "上一位的卡")
}
