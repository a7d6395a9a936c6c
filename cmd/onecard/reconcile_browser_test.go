package main

import (
	"context"
	"strings"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"onecard/settlement"
	"onecard/terminal/web/webtest"
)

// playReconcile: an answer is lost, the comparison with the centre finds the
// settlement there, and one execution books it here; then the day balances.
func (k *clerk) playReconcile() {
	k.watch.Allow("504")
	k.toTrial()
	k.must(orderFaults(k.center.where, "2207:drop-after"))
	k.must(webtest.SettleTo(k.ctx, "unknown"))
	k.must(webtest.Key(k.ctx, "r", chromedp.ModifierAlt))
	k.must(webtest.Wait(k.ctx, `document.getElementById("reconcile-view").checkVisibility() && document.body.dataset.busy === "false"`))
	// Today, as the journal has it: over midnight both days are looked at.
	day := k.journal().Day
	k.evaluate(`{ const day = document.getElementById("reconcile-day"); day.value = "` + day + `"; day.dispatchEvent(new Event("change", { bubbles: true })); document.getElementById("reconcile-run").focus(); }`)
	k.must(webtest.Wait(k.ctx, `document.getElementById("reconcile-view").dataset.verdict === "none" && document.body.dataset.busy === "false"`))
	k.must(webtest.Key(k.ctx, kb.Enter))
	k.must(webtest.Wait(k.ctx, `document.getElementById("reconcile-view").dataset.verdict === "unbalanced" && document.body.dataset.busy === "false"`))
	k.sees("#reconcile-verdict", day, "不平", "待处理 1 条")
	k.sees("#reconcile-body", "仅中心有", "医保中心已结算，本机该笔结果未知。", "机构无此结算", "126.00")
	k.sees("#reconcile-count", "1 差异")
	k.sees("#health", "OC-2501")

	// Nothing happens without a reason.
	k.evaluate(`document.getElementById("reconcile-do-1").focus()`)
	k.must(webtest.Key(k.ctx, kb.Enter))
	k.must(webtest.Wait(k.ctx, `document.activeElement.id === "reconcile-reason"`))
	k.must(webtest.Key(k.ctx, kb.Enter))
	k.sees("#reconcile-dialog", "在本机补记为已结算", "确认执行")
	k.must(webtest.Type(k.ctx, "中心当日清单"))
	k.must(webtest.Key(k.ctx, kb.Enter))
	k.must(webtest.Wait(k.ctx, `document.getElementById("reconcile-view").dataset.verdict === "balanced" && document.body.dataset.busy === "false"`))
	entries := k.journal().Entries
	if len(entries) != 1 || entries[0].Outcome != string(settlement.Done) {
		k.Errorf("journal %+v", entries)
	}
	k.noneTwice(1)

	// What is printed is the comparison.
	k.must(chromedp.Do(k.ctx, chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"})
		return err
	})))
	if paper := k.text("body"); !strings.Contains(paper, day+": 已平") || strings.Contains(paper, "现在对账") {
		k.Errorf("the paper shows\n%s", paper)
	}
	k.must(chromedp.Do(k.ctx, chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "screen"})
		return err
	})))
	// And the visit has its receipt.
	k.must(webtest.Key(k.ctx, "r", chromedp.ModifierAlt))
	k.must(webtest.WaitStep(k.ctx, "settled"))
}

func (k *clerk) evaluate(script string) {
	k.Helper()
	_, err := chromedp.Run(k.ctx, chromedp.Evaluate[any](`(() => { `+strings.TrimSuffix(script, ";")+`; return null; })()`))
	k.must(err)
}
