package web_test

import (
	"fmt"
	"strings"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"onecard/terminal/web/webtest"
)

// doubtful puts an entry of unknown outcome, given up to a person, into the
// desk's journal.
func (d *desk) doubtful() {
	attempt := func(n int, verdict, zh, en string) object {
		return object{"n": n, "time": "2026-11-21T10:00:05+08:00", "verdict": verdict, "text": text(zh, en), "asked": []object{
			{"transaction": "3202", "about": "2026-11-21 11", "text": text("医保中心拒绝了查询", "the centre refused the question"), "found": "refused"}}}
	}
	n := len(d.journal) + 1
	d.journal = append(d.journal, object{"id": n, "visit": fmt.Sprintf("V20261121-%04d", n), "transaction": "2207", "msgid": fmt.Sprint("M", n), "mdtrt_id": "MD7", "opened": "2026-11-21T10:00:00+08:00", "closed": "2026-11-21T10:00:01+08:00",
		"outcome": "unknown", "total": "10.00", "fund": "6.00", "account": "3.00", "cash": "1.00", "settlement_id": "", "holder": "张*", "fault": failure("OC-2102", "已发送但没有收到应答，结果未知。", "Lost.", ""),
		"inquiry": object{"state": "given_up", "text": text("需人工核对：应答不能说明。", "A person must decide: it says neither."), "todo": text("请致电医保中心，提供报文号。", "Ask the centre, with the msgid."),
			"attempts": []object{attempt(1, "undecided", "未查清。", "Not decided."), attempt(2, "given_up", "需人工核对。", "A person must decide.")}}})
}

// resolve answers POST /v1/journal/{id}/ask and /resolve; the caller holds the
// lock.
func (d *desk) resolve(path string, in object) (int, any) {
	id, what, _ := strings.Cut(strings.TrimPrefix(path, "journal/"), "/")
	for _, e := range d.journal {
		if fmt.Sprint(e["id"]) != id {
			continue
		}
		inquiry := e["inquiry"].(object)
		if what == "ask" {
			attempts := inquiry["attempts"].([]object)
			inquiry["attempts"] = append(attempts, object{"n": len(attempts) + 1, "time": "2026-11-21T10:07:00+08:00", "text": text("仍未查清。", "Still not decided."), "by": "001", "asked": []object{}})
			return 200, e
		}
		if in["reason"] == "" || in["who"] == "" || in["outcome"] == "done" && (in["settlement_id"] == "" || in["cash"] == "") {
			return 400, object{"fault": failure("OC-2313", "人工核对须写明原因。", "A decision needs a reason.", "")}
		}
		if in["cash"] == "x" {
			return 400, object{"fault": failure("OC-2005", "金额不合法。", "The amount is not valid.", "cash")}
		}
		e["outcome"], e["fault"], e["settlement_id"], e["cash"] = in["outcome"], nil, in["settlement_id"], in["cash"]
		inquiry["state"], inquiry["text"] = "closed", text("已由人工核对。", "A person has decided it.")
		delete(inquiry, "todo")
		return 200, e
	}
	return 404, object{"fault": failure("OC-2308", "日志中没有该记录。", "There is no such entry.", "")}
}

// playResolve looks at an entry that was given up, asks again, and decides it,
// by keyboard alone.
func playResolve(p *page) {
	p.watch.Allow("400")
	p.desk.with(func() {
		p.desk.doubtful()
		p.desk.state["health"] = append(p.desk.state["health"].([]object), object{"condition": "unresolved", "ok": false, "fault": failure("OC-2323", "有结果未知的结算需要人工核对。", "A person must decide.", "1"), "since": "2026-11-21T10:05:00+08:00"})
	})
	p.open()
	p.shows("#health", "结果未知")
	_, err := webtest.Journal(p.ctx)
	p.must(err)
	p.must(webtest.TabTo(p.ctx, "entry-1"))
	p.key(kb.Enter)
	p.wait(`document.getElementById("entry-dialog").open`)
	p.shows("#entry-inquiry", "需人工核对", "请致电医保中心", "3202 2026-11-21 11", "医保中心拒绝了查询")
	p.shot("given-up")
	p.must(webtest.TabTo(p.ctx, "entry-ask"))
	p.key(kb.Enter)
	p.wait(`document.getElementById("inquiry-attempts").children.length === 3 && document.getElementById("entry-ask").getAttribute("aria-disabled") !== "true"`)
	p.shows("#inquiry-attempts", "仍未查清", "001")
	p.focused("entry-ask")
	// What is found out meanwhile appears by itself.
	p.desk.with(func() {
		p.desk.journal[0]["inquiry"].(object)["text"] = text("需人工核对：已查询三次。", "A person must decide: asked three times.")
		p.desk.state["unknown"] = object{"count": 1, "given_up": 1, "attempts": 3, "contradicted": []int{}}
	})
	p.wait(`document.getElementById("inquiry-state").textContent.includes("已查询三次")`)
	p.must(webtest.TabTo(p.ctx, "entry-decide"))
	p.key(kb.Enter)
	p.focused("resolve-done")
	p.key(" ")
	p.wait(`document.getElementById("resolve-booked").checkVisibility()`)
	// Nothing is sent while something is missing.
	p.must(webtest.TabTo(p.ctx, "resolve-submit"))
	p.key(kb.Enter)
	if n := p.desk.count("POST /v1/journal/1/resolve"); n != 0 {
		p.Errorf("%d decisions were sent without a reason", n)
	}
	type field struct{ id, value string }
	enter := func(fields ...field) {
		for _, f := range fields {
			p.must(webtest.TabTo(p.ctx, f.id))
			p.key("a", chromedp.ModifierCtrl)
			p.key(f.value)
		}
	}
	enter(field{"resolve-setl", "S99"}, field{"resolve-total", "10.00"}, field{"resolve-fund", "6.00"}, field{"resolve-account", "3.00"}, field{"resolve-cash", "x"}, field{"resolve-reason", "the centre told me"})
	p.must(webtest.TabTo(p.ctx, "resolve-submit"))
	p.key(kb.Enter)
	p.wait(`!document.getElementById("resolve-fault").hidden`)
	p.shows("#resolve-fault", "OC-2005")
	p.shot("refused")
	enter(field{"resolve-cash", "1.00"})
	p.must(webtest.TabTo(p.ctx, "resolve-submit"))
	p.key(kb.Enter)
	p.wait(`!document.getElementById("resolve-form").checkVisibility() && !document.getElementById("entry-decide").checkVisibility()`)
	p.shows("#entry-dialog", "已由人工核对", "S99")
	p.focused("entry-title")
	p.key(kb.Escape)
	p.wait(`document.querySelector("#journal-body tr").dataset.outcome === "done"`)
	p.key("l", chromedp.ModifierAlt)
	p.must(webtest.TabTo(p.ctx, "entry-1"))
	p.key(kb.Enter)
	p.wait(`document.getElementById("entry-dialog").open`)
	p.shows("#entry-dialog", "What was asked", "A person has decided it", "Still not decided", "the centre refused the question")
	if n := p.desk.count("POST /v1/journal/1/resolve"); n != 2 {
		p.Errorf("%d decisions were sent, want 2", n)
	}
}
