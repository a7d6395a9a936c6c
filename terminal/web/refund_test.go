package web_test

import (
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"onecard/terminal/web/webtest"
)

// A settlement is taken back by keyboard, the slip is read and printed, and the
// lines that stay are settled again.
func playRefund(p *page) {
	p.toTrial()
	p.must(webtest.Settle(p.ctx))
	p.must(webtest.TabTo(p.ctx, "refund"))
	p.key(kb.Enter)
	p.wait(`document.getElementById("refund-dialog").open`)
	p.focused("refund-reason")
	p.shows("#refund-dialog", "全部撤销这笔结算", "V20261121-0001", "77.01", "只退一部分")
	// Nothing is sent by going back.
	p.key(kb.Escape)
	p.wait(`!document.getElementById("refund-dialog").open`)
	if n := p.desk.count("POST /v1/journal/1/refund"); n != 0 {
		p.Errorf("%d refunds were sent without a confirmation", n)
	}
	p.must(webtest.TabTo(p.ctx, "refund"))
	p.key(kb.Enter)
	p.wait(`document.getElementById("refund-dialog").open`)
	p.must(webtest.Type(p.ctx, "退药 <b>一盒</b>"))
	p.shot("refund-confirm")
	p.key(kb.Enter)
	p.wait(`document.activeElement?.id === "slip-heading"`)
	p.shows("#slip", "医疗保险退费凭证", "R0001", "S0001", "-77.01", "退药 <b>一盒</b>", "模拟")
	p.hides("#slip", "undefined", "null", "NaN")
	p.shot("refund-slip")
	p.key("l", chromedp.ModifierAlt)
	p.shows("#slip", "Medical insurance refund", "To the payer")
	p.key("l", chromedp.ModifierAlt)
	if eval[bool](p, `document.getElementById("visit-view").checkVisibility()`) {
		p.Error("the visit is shown under the slip")
	}
	for _, problem := range eval[[]string](p, ugly) {
		p.Errorf("slip: %s", problem)
	}
	eval[bool](p, `window.printed = 0, window.print = () => { window.printed++; }, true`)
	p.key(kb.F9)
	if n := eval[int](p, `window.printed`); n != 1 {
		p.Errorf("printed %d times", n)
	}
	p.must(webtest.TabTo(p.ctx, "slip-close"))
	p.key(kb.Enter)
	p.must(webtest.WaitStep(p.ctx, "fees"))
	p.wait(`document.getElementById("visit-view").checkVisibility()`)
	p.shows("#slips", "退费凭证（1）")
	p.shows("#lines-total", "77.01")
	p.must(webtest.Trial(p.ctx, &webtest.Outcome{}))
	p.must(webtest.Settle(p.ctx))
	if n := p.desk.count("POST /v1/journal/1/refund"); n != 1 {
		p.Errorf("%d refunds were sent", n)
	}
	// The journal offers what stands, and not what was taken back.
	p.must(webtest.NextPatient(p.ctx))
	if _, err := webtest.Journal(p.ctx); err != nil {
		p.Fatal(err)
	}
	offered := func(entry string) bool {
		p.must(webtest.TabTo(p.ctx, "entry-"+entry))
		p.key(kb.Enter)
		p.wait(`document.getElementById("entry-dialog").open`)
		is := eval[bool](p, `document.getElementById("entry-refund").checkVisibility()`)
		p.key(kb.Escape)
		p.wait(`!document.getElementById("entry-dialog").open`)
		return is
	}
	if !offered("3") || offered("2") || offered("1") {
		p.Error("the journal does not offer the refund of the one settlement that stands")
	}
}

func playRefundLost(p *page) {
	p.watch.Allow("504")
	p.desk.refunding = "lost"
	p.toTrial()
	p.must(webtest.Settle(p.ctx))
	p.must(webtest.TabTo(p.ctx, "refund"))
	p.key(kb.Enter)
	p.wait(`document.getElementById("refund-dialog").open`)
	p.key(kb.Enter)
	p.must(webtest.WaitStep(p.ctx, "unknown"))
	p.shows("#outcome", "退费结果未知", "OC-2102", "先不要退钱", "不要再次退费")
	if eval[bool](p, `["refund", "slip-view", "receipt", "line-form"].some((id) => document.getElementById(id).checkVisibility())`) {
		p.Error("something can be done while the refund is in doubt")
	}
	p.shot("refund-unknown")
}

// A visit is set aside for the next patient, and goes on afterwards.
func playWaiting(p *page) {
	p.toFees()
	p.must(webtest.TabTo(p.ctx, "set-aside"))
	p.key(kb.Enter)
	p.must(webtest.WaitStep(p.ctx, "ready"))
	p.wait(`document.querySelectorAll("#waiting-body tr").length === 1`)
	p.shows("#waiting", "未完成的就诊", "欧**燕", "录入费用", "77.01")
	p.open() // also after a reload
	p.wait(`document.querySelectorAll("#waiting-body tr").length === 1`)
	p.shot("waiting")
	for _, problem := range eval[[]string](p, ugly) {
		p.Errorf("waiting: %s", problem)
	}
	p.must(webtest.TabTo(p.ctx, "resume-V20261121-0001"))
	p.key(kb.Enter)
	p.must(webtest.WaitStep(p.ctx, "fees"))
	p.shows("#lines-total", "77.01")
	p.wait(`document.getElementById("waiting").hidden`)
}

// A stay is admitted with its bed, discharged, and settled only then.
func playStay(p *page) {
	p.open()
	p.must(webtest.WaitStep(p.ctx, "ready"))
	eval[bool](p, `document.getElementById("register-details").open = true`)
	if eval[bool](p, `document.getElementById("bed").checkVisibility()`) {
		p.Error("an outpatient is asked for a bed")
	}
	p.must(webtest.TabTo(p.ctx, "kind"))
	p.key(kb.ArrowDown)
	p.wait(`document.getElementById("kind").value === "inpatient" && document.getElementById("bed").checkVisibility()`)
	p.must(webtest.TabTo(p.ctx, "start-visit"))
	p.key(kb.Enter)
	p.wait(`!document.getElementById("register-problem").hidden`)
	p.focused("bed")
	p.shows("#register-problem", "床位")
	p.must(webtest.Type(p.ctx, "0312"))
	p.must(webtest.TabTo(p.ctx, "start-visit"))
	p.key(kb.Enter)
	p.must(webtest.WaitStep(p.ctx, "fees"))
	p.shows("#visit-list", "在院", "0312")
	p.must(webtest.AddLine(p.ctx, consultation))
	p.must(webtest.Trial(p.ctx, &webtest.Outcome{}))
	if eval[bool](p, `document.getElementById("settle").checkVisibility()`) {
		p.Error("a stay can be settled before its discharge")
	}
	p.must(webtest.TabTo(p.ctx, "discharge"))
	p.key(kb.Enter)
	p.wait(`document.getElementById("readmit").checkVisibility() && document.body.dataset.busy === "false"`)
	p.shot("stay")
	p.must(webtest.Settle(p.ctx))
}
