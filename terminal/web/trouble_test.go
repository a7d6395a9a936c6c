package web_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"onecard/terminal/web/webtest"
)

func playHeldEnter(p *page) {
	p.toTrial()
	p.focused("settle")
	// A key held down: one key-down, then repeats, no key-up.
	for i := range 5 {
		p.must(chromedp.Do(p.ctx, chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
			repeat := i > 0
			_, err := chromedp.Call(ctx, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: "keyDown", Key: "Enter", Code: "Enter", Text: "\r", WindowsVirtualKeyCode: 13, AutoRepeat: &repeat})
			return err
		})))
	}
	p.wait(`document.getElementById("settle-dialog").open`)
	if n := p.desk.count("POST /v1/visits/V20261121-0001/settle"); n != 0 {
		p.Errorf("a held Enter sent %d settlements", n)
	}
}

func playLost(p *page) {
	p.watch.Allow("ERR_", "WebSocket", "401", "504")
	p.toFees()
	p.desk.away(true)
	p.wait(`!document.getElementById("connection").hidden && document.body.dataset.connected === "false"`)
	p.shows("#connection", "连接已断开", "操作暂停")
	if !eval[bool](p, `document.getElementById("run-trial").getAttribute("aria-disabled") === "true"`) {
		p.Error("the trial can be started without a connection")
	}
	p.key(kb.F8)
	p.shot("lost")
	p.desk.with(func() { p.desk.institute = "第二人民医院" })
	p.desk.away(false)
	p.wait(`document.body.dataset.connected === "true" && document.getElementById("connection").hidden`)
	p.shows("#institution", "第二人民医院")
	p.shows("#lines-total", "77.01")
	p.must(webtest.Trial(p.ctx, &webtest.Outcome{}))
	if n := p.desk.count("POST /v1/visits/V20261121-0001/trial"); n != 1 {
		p.Errorf("%d trials were sent, want 1", n)
	}
	// The service breaks off in the middle of a command.
	release := p.desk.hold("/v1/visits/V20261121-0001/settle")
	_, err := webtest.Confirm(p.ctx)
	p.must(err)
	p.key(kb.Enter)
	p.wait(`document.body.dataset.busy === "true"`)
	p.desk.with(func() { p.desk.settlement = "lost" })
	p.desk.cut()
	release()
	p.must(webtest.WaitStep(p.ctx, "unknown"))
}

func playUnknown(p *page) {
	p.watch.Allow("504")
	p.desk.settlement = "lost"
	p.toTrial()
	p.must(webtest.SettleTo(p.ctx, "unknown"))
	p.focused("outcome-heading")
	p.shows("#outcome", "结算结果未知", "OC-2102", "请这样做", "先不要收费", "请不要", "不要再次结算", "V20261121-0001")
	p.hides("#visit-panel", "现在应付", "12.36", "5.70")
	if eval[bool](p, `["settle", "run-trial", "line-form", "receipt", "print"].some((id) => document.getElementById(id).checkVisibility())`) {
		p.Error("something can be settled, changed or printed while the outcome is unknown")
	}
	p.shot("unknown")
	p.key("l", chromedp.ModifierAlt)
	p.shows("#outcome", "The outcome of this settlement is unknown", "Do not settle again")
	p.key("l", chromedp.ModifierAlt)
	p.must(webtest.TabTo(p.ctx, "outcome-entry"))
	p.key(kb.Enter)
	p.wait(`document.getElementById("entry-dialog").open`)
	p.shows("#entry-dialog", "结果未知", "OC-2102", "H51010400001202611211000000001")
	p.shot("entry")
	p.key(kb.Escape)
	p.must(webtest.NextPatient(p.ctx))
	p.shows("#view-journal", "1 未知")
	// Putting it away is not resolving it.
	p.open()
	p.must(webtest.WaitStep(p.ctx, "ready"))
	rows, err := webtest.Journal(p.ctx)
	p.must(err)
	if len(rows) != 1 || !strings.Contains(rows[0], "结果未知") {
		p.Errorf("the journal shows %q", rows)
	}
}

func playSums(p *page) {
	p.watch.Allow("502")
	p.desk.settlement = "sums"
	p.toTrial()
	p.must(webtest.SettleTo(p.ctx, "unknown"))
	p.shows("#outcome", "金额不平", "OC-2203", "不要收费", "不要再次结算，不要开收据")
	p.hides("#visit-panel", "5.70")
	p.shot("sums")
}

func playRefused(p *page) {
	p.watch.Allow("422")
	p.desk.settlement = "refused"
	p.toTrial()
	_, err := webtest.Confirm(p.ctx)
	p.must(err)
	p.key(kb.Enter)
	p.wait(`!document.getElementById("visit-fault").hidden && document.body.dataset.busy === "false"`)
	p.shows("#visit-fault", "OC-2201", "医保中心拒绝了该交易", "医保中心原话", "参保人待遇已暂停", "怎么办")
	p.shot("refused")
	p.open()
	p.shows("#visit-fault", "OC-2201", "参保人待遇已暂停")
	p.desk.with(func() { p.desk.settlement = "" })
	p.must(webtest.Settle(p.ctx))
	p.wait(`document.getElementById("visit-fault").hidden`)
}

func playSkew(p *page) {
	p.desk.skew = "0.01"
	p.open()
	p.must(webtest.StartVisit(p.ctx))
	p.must(webtest.AddLine(p.ctx, consultation))
	p.shows("#sums-warning", "20.00", "20.01", "不要收费")
	if !eval[bool](p, `document.getElementById("run-trial").getAttribute("aria-disabled") === "true"`) {
		p.Error("a trial of wrong sums can be started")
	}
	p.desk.skew = ""
	p.must(webtest.AddLine(p.ctx, tablets))
	p.wait(`document.getElementById("sums-warning").hidden`)
	// Two errors that cancel each other out are two errors.
	amounts := func(first, second string) {
		p.desk.with(func() {
			lines := p.desk.state["visit"].(object)["lines"].([]object)
			lines[0]["amount"], lines[1]["amount"] = first, second
		})
	}
	amounts("20.01", "57.00")
	p.wait(`!document.getElementById("sums-warning").hidden`)
	amounts("20.00", "57.01")
	p.wait(`document.getElementById("sums-warning").hidden`)
	// A trial whose shares do not make up its total cannot be settled.
	p.must(webtest.Trial(p.ctx, &webtest.Outcome{}))
	p.desk.with(func() { p.desk.state["visit"].(object)["trial"].(object)["fund"] = "1.00" })
	p.wait(`!document.getElementById("trial-warning").hidden`)
	p.key(kb.F8)
	if eval[bool](p, `document.getElementById("settle-dialog").open`) {
		p.Error("an unsound trial can be confirmed")
	}
}

// lateTimers keeps what the page wants done after twenty seconds, so that the
// test decides when they are over.
const lateTimers = `(() => {
	const real = window.setTimeout;
	window.late = [];
	window.setTimeout = (work, time, ...more) => time === 20000 ? window.late.push(work) : real(work, time, ...more);
})()`

func playMasked(p *page) {
	p.must(chromedp.Do(p.ctx, chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: lateTimers})
		return err
	})))
	p.open()
	p.must(webtest.WaitStep(p.ctx, "ready"))
	secret := func() bool {
		return eval[bool](p, `/510104195807121269|欧阳海燕/.test(document.documentElement.outerHTML)`)
	}
	if secret() || p.desk.count("GET /v1/readers/r1/identity") != 0 {
		p.Fatal("name or number are there before anybody asked")
	}
	show := func() {
		p.Helper()
		p.key("i", chromedp.ModifierAlt)
		p.wait(`document.getElementById("holder-number").textContent === "510104195807121269"`)
		p.shows("#holder-name", "欧阳海燕")
	}
	gone := func(why string) {
		p.Helper()
		p.wait(`document.getElementById("holder-number").textContent !== "510104195807121269"`)
		if secret() {
			p.Errorf("name or number are still in the page after %s", why)
		}
	}
	show()
	p.shows("#card-facts", "女", "1958年7月12日")
	p.shot("shown")
	eval[int](p, `window.late.splice(0).map((work) => work()).length`)
	gone("twenty seconds")
	show()
	p.key("i", chromedp.ModifierAlt)
	gone("a second press")
	show()
	p.desk.remove()
	gone("the card was taken out")
	p.desk.insert()
	p.must(webtest.WaitStep(p.ctx, "ready"))
	if secret() {
		p.Error("name or number are back with the card")
	}
}

func playSwap(p *page) {
	p.open()
	p.must(webtest.WaitStep(p.ctx, "ready"))
	release := p.desk.hold("/v1/readers/r1/identity")
	p.key("i", chromedp.ModifierAlt)
	p.wait(`document.body.dataset.busy === "true"`)
	seq := eval[string](p, `document.body.dataset.seq`)
	p.desk.insert() // another insertion while the answer is on its way
	p.wait(fmt.Sprintf(`document.body.dataset.seq !== %q`, seq))
	release()
	p.wait(`document.body.dataset.busy === "false"`)
	p.hides("body", "510104195807121269", "欧阳海燕")
}

func playPIN(p *page) {
	p.watch.Allow("403")
	p.open()
	p.must(webtest.WaitStep(p.ctx, "ready"))
	if n := eval[int](p, `document.querySelectorAll("input[type=password], input[id*=pin]").length`); n != 0 {
		p.Errorf("the page has %d fields for a PIN", n)
	}
	p.shows("#card-panel", "模拟键盘", "输入密码后可以查看")
	release := p.desk.hold("/v1/readers/r1/pin/verify")
	p.key("p", chromedp.ModifierAlt)
	p.desk.with(func() { p.desk.card["pin"].(object)["phase"] = "waiting" })
	p.wait(`!document.getElementById("pin-waiting").hidden`)
	p.shows("#pin-waiting", "请看密码键盘", "模拟密码键盘")
	p.shot("waiting")
	p.desk.with(func() { p.desk.card["pin"].(object)["phase"], p.desk.pin = "idle", "wrong" })
	release()
	p.wait(`!document.getElementById("card-fault").hidden && document.body.dataset.busy === "false"`)
	p.shows("#card-fault", "OC-1301", "密码错误", "还可以试 5 次")
	p.shows("#pin-state", "5")
	p.shot("wrong")
	p.desk.with(func() { p.desk.pin = "" })
	p.must(webtest.AskPIN(p.ctx))
	p.wait(`document.getElementById("card-fault").hidden`)
	if _, err := webtest.Record(p.ctx, "DF03EF07"); err != nil {
		p.Fatal(err)
	}
	// Another program reset the card: what needed the PIN goes away.
	p.desk.with(func() { p.desk.card["pin"].(object)["verified"] = false })
	p.wait(`document.getElementById("record-view").hidden`)
	p.hides("#card-panel", "企业职工基本养老保险")
	p.desk.with(func() { p.desk.card["pin"].(object)["tries_left"] = 0 })
	p.wait(`document.getElementById("ask-pin").getAttribute("aria-disabled") === "true"`)
	p.shows("#pin-state", "密码已锁定")
}

func playNotAuthenticated(p *page) {
	p.desk.with(func() {
		p.desk.card["authenticated"] = false
		p.desk.card["auth_fault"] = failure("OC-1402", "无法连接密码机。", "The HSM cannot be reached.", "")
	})
	p.open()
	p.must(webtest.WaitStep(p.ctx, "ready"))
	p.shows("#card-panel", "卡片未通过认证", "OC-1402", "无法连接密码机")
	p.shows("#register", "不能开始就诊")
	p.shot("card")
	p.key(kb.F8)
	if n := p.desk.count("POST /v1/visits"); n != 0 {
		p.Errorf("%d visits were asked for", n)
	}
}

func playReader(p *page) {
	p.open()
	p.desk.setReader("failed", nil, failure("OC-1201", "这不是社会保障卡。", "This is not a social security card.", ""))
	p.must(webtest.WaitStep(p.ctx, "failed"))
	p.shows("#card-panel", "没有读出这张卡", "OC-1201", "这不是社会保障卡")
	p.shot("failed")
	p.desk.setReader("stuck", nil, failure("OC-1005", "读卡器在规定时间内没有应答。", "No answer.", ""))
	p.wait(`document.getElementById("card-wait").dataset.state === "stuck"`)
	p.shows("#card-panel", "读卡器没有应答", "OC-1005")
	p.desk.with(func() { p.desk.state["readers"] = []object{} })
	p.wait(`document.getElementById("card-wait").dataset.state === "none"`)
	p.shows("#card-panel", "没有找到读卡器")
}

func playHealth(p *page) {
	p.open()
	p.shows("#simulated", "模拟环境", "不得用于真实收费")
	p.desk.with(func() {
		p.desk.state["simulated"] = false
		p.desk.state["health"] = []object{{"condition": "reader", "ok": true}, {"condition": "upstream", "ok": false, "since": "2026-11-21T09:00:00+08:00", "fault": failure("OC-2101", "无法连接医保中心，未发送任何数据，未记账。", "Unreachable.", "")}}
	})
	p.wait(`document.getElementById("simulated").hidden`)
	p.shows("#health", "医保中心 异常", "OC-2101", "无法连接医保中心", "按提示处理")
	p.shot("bad")
}

func playHostile(p *page) {
	evil := `<script>window.broken=1</script><img src="http://198.51.100.7/x" onerror="window.broken=1">"'>&amp;${1}{n}`
	p.desk.with(func() {
		d := p.desk
		d.institute = evil
		d.state["operator"] = object{"no": evil, "name": evil}
		d.reader()["name"] = evil
		d.card["holder"] = object{"name": evil, "social_security_number": evil, "sex": object{"code": "2", "zh": evil, "en": evil}, "birth_date": evil}
		d.card["version"], d.card["number"], d.card["issued"] = evil, evil, evil
		d.holder = object{"name": evil + "!", "social_security_number": evil, "birth_date": evil}
		d.state["counter"] = object{"department": object{"code": evil, "name": evil}, "doctor": object{"code": evil, "name": evil}, "diagnoses": []object{{"code": evil, "name": evil}}, "med_type": object{"code": evil, "zh": evil}}
		d.state["health"] = []object{{"condition": evil, "ok": false, "fault": failure(evil, evil, evil, evil)}}
		d.files["DF03EF07"] = object{"id": evil, "name": text(evil, evil), "records": []object{{"tag": evil, "name": text(evil, evil), "value": evil, "text": text(evil, evil)}}}
	})
	p.open()
	p.must(webtest.WaitStep(p.ctx, "ready"))
	p.key("i", chromedp.ModifierAlt)
	p.wait(`document.getElementById("holder-name").textContent.endsWith("!")`)
	p.must(webtest.AskPIN(p.ctx))
	_, err := webtest.Record(p.ctx, "DF03EF07")
	p.must(err)
	p.must(webtest.StartVisit(p.ctx))
	p.must(webtest.AddLine(p.ctx, webtest.Line{Code: "<b>1", Name: evil[:80], Quantity: "1", Price: "1"}))
	p.must(webtest.Trial(p.ctx, &webtest.Outcome{}))
	p.must(webtest.Settle(p.ctx))
	p.shows("#receipt", "<script>window.broken=1</script>")
	_, err = webtest.Journal(p.ctx)
	p.must(err)
	if eval[bool](p, `"broken" in window || document.querySelectorAll("body script, img, b").length > 0`) {
		p.Error("text from outside became markup")
	}
	p.shot("hostile")
}

func playHuge(p *page) {
	p.toFees()
	p.desk.with(func() {
		visit := p.desk.state["visit"].(object)
		lines := make([]object, 3000)
		for i := range lines {
			lines[i] = object{"sn": fmt.Sprint(i + 1), "code": fmt.Sprint("C", i), "name": strings.Repeat("长", 100), "quantity": "1", "price": "0.01", "amount": "0.01"}
		}
		visit["lines"], visit["total"] = lines, "30.00"
		health := make([]object, 2000)
		for i := range health {
			health[i] = object{"condition": fmt.Sprint("c", i), "ok": true}
		}
		p.desk.state["health"] = health
		for i := range 1000 {
			p.desk.journal = append(p.desk.journal, object{"id": i + 1, "opened": "2026-11-21T10:00:00+08:00", "outcome": "done", "total": "1.00", "fund": "1.00", "account": "0.00", "cash": "0.00"})
		}
	})
	p.wait(`document.getElementById("lines-total").textContent === "30.00"`)
	p.shows("#lines-more", "2500")
	p.hides("#sums-warning", "不一致")
	_, err := webtest.Journal(p.ctx)
	p.must(err)
	if n := eval[int](p, `document.querySelectorAll("*").length`); n > 20000 {
		p.Errorf("the page has %d elements", n)
	}
}

func playJournal(p *page) {
	p.desk.with(func() {
		add := func(outcome string, fault object) {
			n := len(p.desk.journal) + 1
			e := object{"id": n, "visit": fmt.Sprintf("V20261121-%04d", n), "transaction": "2207", "msgid": fmt.Sprint("M", n), "opened": "2026-11-21T10:00:00+08:00", "closed": "2026-11-21T10:00:01+08:00", "outcome": outcome, "total": "10.00", "fund": "6.00", "account": "3.00", "cash": "1.00", "settlement_id": fmt.Sprint("S", n), "holder": "张*", "fault": nil}
			if fault != nil {
				e["fault"] = fault
			}
			p.desk.journal = append(p.desk.journal, e)
		}
		add("done", nil)
		add("unknown", failure("OC-2102", "已发送但没有收到应答，结果未知。", "Lost.", ""))
		add("refused", failure("OC-2201", "医保中心拒绝了该交易。", "Refused.", "余额不足"))
		add("done", nil)
	})
	p.open()
	rows, err := webtest.Journal(p.ctx)
	p.must(err)
	p.shot("list")
	if len(rows) != 4 || !strings.Contains(rows[0], "结果未知") || !strings.Contains(rows[0], "OC-2102") || !strings.HasPrefix(rows[1], "4") {
		p.Errorf("the rows are %q: the unknown one is first, then the newest", rows)
	}
	p.shows("#journal-unknown", "1 笔结算结果未知")
	p.shows("#journal-totals", "20.00", "12.00", "6.00", "2.00")
	p.must(webtest.TabTo(p.ctx, "journal-outcome"))
	p.key(kb.ArrowDown) // unknown
	p.key(kb.ArrowDown) // done
	p.wait(`document.getElementById("journal-outcome").value === "done" && document.querySelectorAll("#journal-body tr").length === 2`)
	p.must(webtest.TabTo(p.ctx, "entry-4"))
	p.key(kb.Enter)
	p.wait(`document.getElementById("entry-dialog").open`)
	p.shows("#entry-dialog", "日志 4", "M4", "S4")
	p.key(kb.Escape)
	p.focused("entry-4")
	// A new entry appears by itself.
	p.desk.with(func() {
		e := object{"id": 5, "opened": "2026-11-21T10:00:00+08:00", "outcome": "done", "total": "1.00", "fund": "1.00", "account": "0.00", "cash": "0.00"}
		p.desk.journal = append(p.desk.journal, e)
	})
	p.wait(`document.querySelectorAll("#journal-body tr").length === 3`)
	p.key("j", chromedp.ModifierAlt)
	p.wait(`document.body.dataset.view === "visit"`)
}

func playPrint(p *page) {
	paper := func(width float64) int {
		pdf, err := chromedp.Run(p.ctx, chromedp.PrintToPDF(chromedp.PDFPaper(chromedp.PaperSize{Width: width / 25.4, Height: 210 / 25.4})))
		p.must(err)
		if len(pdf) == 0 {
			p.Fatal("nothing was printed")
		}
		return strings.Count(string(pdf), "/Type /Page\n") + strings.Count(string(pdf), "/Type /Page ") + strings.Count(string(pdf), "/Type /Page/")
	}
	media := func(name string) {
		p.must(chromedp.Do(p.ctx, chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
			_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: name})
			return err
		})))
	}
	p.toTrial()
	media("print")
	if shown := strings.TrimSpace(p.text("body")); shown != "没有可打印的收据。" {
		p.Errorf("before settlement the paper shows %q", shown)
	}
	media("screen")
	p.must(webtest.Settle(p.ctx))
	receipt := p.text("#receipt")
	media("print")
	squeeze := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	if shown := p.text("body"); squeeze(shown) != squeeze(receipt) {
		p.Errorf("the paper shows more or less than the receipt:\n%s", shown)
	}
	p.shot("paper")
	p.must(chromedp.Do(p.ctx, chromedp.EmulateViewport(302, 900))) // a roll of 80 mm at 96 dots an inch
	p.shot("roll")
	if wide := eval[int](p, `document.documentElement.scrollWidth`); wide > 302 {
		p.Errorf("the receipt is %d wide on a roll of 302", wide)
	}
	p.must(chromedp.Do(p.ctx, chromedp.EmulateViewport(1440, 1000)))
	for _, width := range []float64{80, 148} {
		if n := paper(width); n != 1 {
			p.Errorf("%v mm: %d pages", width, n)
		}
	}
	media("screen")
	eval[bool](p, `window.print = () => { window.printed = (window.printed ?? 0) + 1; }, true`)
	p.key(kb.F9)
	p.wait(`window.printed === 1`)
}
