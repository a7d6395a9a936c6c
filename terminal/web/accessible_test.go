package web_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"onecard/terminal/web/webtest"
)

// ugly finds what people with weak eyes, shaky hands or a screen reader stumble over.
const ugly = `(() => {
	const found = [];
	const visible = (n) => n.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && !n.closest(".visually-hidden, .skip") && n.getBoundingClientRect().width > 0;
	const say = (n) => n.id || n.className || n.tagName;
	const parse = (c) => { const m = c.match(/[\d.]+/g).map(Number); return { r: m[0], g: m[1], b: m[2], a: m[3] ?? 1 }; };
	const light = ({ r, g, b }) => { const f = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b); };
	const behind = (n) => { for (let at = n; at; at = at.parentElement) { const c = parse(getComputedStyle(at).backgroundColor); if (c.a > 0.99) return c; } return { r: 255, g: 255, b: 255 }; };
	const scope = document.querySelector("dialog[open]") ?? document.body;
	for (const n of scope.querySelectorAll("*")) {
		if (!visible(n)) continue;
		const own = [...n.childNodes].some((c) => c.nodeType === 3 && c.data.trim());
		if (own && !n.closest("svg")) {
			const [a, b] = [light(parse(getComputedStyle(n).color)), light(behind(n))];
			const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
			if (ratio < 4.5) found.push("contrast " + ratio.toFixed(2) + " " + say(n) + " " + n.textContent.trim().slice(0, 20));
			if (parseFloat(getComputedStyle(n).fontSize) < 13) found.push("small text " + say(n));
		}
		if (n.matches("button, input, select, textarea, summary")) {
			const box = n.getBoundingClientRect();
			if (box.height < 44 || box.width < 44) found.push("small target " + say(n) + " " + box.width + "x" + box.height);
			const name = n.getAttribute("aria-label") || n.textContent.trim() || n.labels?.[0]?.textContent.trim();
			if (!name) found.push("no name " + say(n));
		}
		for (const attribute of ["aria-labelledby", "aria-controls", "aria-describedby", "for"]) for (const id of (n.getAttribute(attribute) ?? "").split(" ")) if (id && !document.getElementById(id)) found.push(attribute + " of " + say(n) + " names nothing");
	}
	if (document.documentElement.scrollWidth > innerWidth + 1) found.push("the page is " + document.documentElement.scrollWidth + " wide in " + innerWidth + ": " + [...document.querySelectorAll("body *")].filter((n) => visible(n) && !n.parentElement.closest(".scroll") && n.getBoundingClientRect().right > innerWidth + 1).map(say).slice(0, 6).join(", "));
	const ids = [...document.querySelectorAll("[id]")].map((n) => n.id);
	for (const id of ids.filter((each, i) => ids.indexOf(each) !== i)) found.push("two elements are called " + id);
	return found;
})()`

func playAccessible(p *page) {
	check := func(where string) {
		p.Helper()
		for _, size := range []struct{ width, height int64 }{{1440, 1000}, {720, 500}, {400, 800}} { // the second is 200 %
			p.must(chromedp.Do(p.ctx, chromedp.EmulateViewport(size.width, size.height)))
			for _, problem := range eval[[]string](p, ugly) {
				p.Errorf("%s at %d: %s", where, size.width, problem)
			}
			if size.width == 720 {
				p.shot("zoom-" + where)
			}
		}
		p.must(chromedp.Do(p.ctx, chromedp.EmulateViewport(1440, 1000)))
	}
	p.must(chromedp.Do(p.ctx, chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: "reduce"}}})
		return err
	})))
	p.desk.remove()
	p.open()
	p.must(webtest.WaitStep(p.ctx, "waiting"))
	check("waiting")
	if n := eval[int](p, `document.getAnimations().length`); n != 0 {
		p.Errorf("%d animations run for somebody who wants none", n)
	}
	p.desk.insert()
	p.must(webtest.WaitStep(p.ctx, "ready"))
	eval[bool](p, `document.getElementById("register-details").open = true`)
	check("ready")
	p.must(webtest.StartVisit(p.ctx))
	p.must(webtest.AddLine(p.ctx, tablets))
	check("fees")
	p.must(webtest.OpenPaste(p.ctx, "A1,纱布,2,1\nA2,棉签,0,1\n"))
	p.wait(`document.querySelectorAll("#paste-body tr").length === 2`)
	check("paste")
	p.key(kb.Escape)
	p.must(webtest.Trial(p.ctx, &webtest.Outcome{}))
	check("trial")
	_, err := webtest.Confirm(p.ctx)
	p.must(err)
	check("confirm")
	p.key(kb.Enter)
	p.must(webtest.WaitStep(p.ctx, "settled"))
	check("receipt")
	p.desk.with(func() {
		v := p.desk.state["visit"].(object)
		v["state"], v["fault"] = "unknown", failure("OC-2102", "已发送但没有收到应答，结果未知。", "Lost.", "")
		p.desk.journal[0]["outcome"] = "unknown"
	})
	p.must(webtest.WaitStep(p.ctx, "unknown"))
	check("unknown")
	_, err = webtest.Journal(p.ctx)
	p.must(err)
	check("journal")
	p.key("l", chromedp.ModifierAlt)
	check("journal English")
	p.key(kb.F1)
	p.wait(`document.getElementById("help-dialog").open`)
	check("help")
}

func playTab(p *page) {
	p.toFees()
	eval[bool](p, `document.activeElement.blur(), true`)
	seen := map[string]bool{}
	want := eval[[]string](p, `[...document.querySelectorAll("button, input, select, textarea, summary")].filter((n) => n.checkVisibility()).map((n) => n.id)`)
	for range len(want) + 20 {
		p.key(kb.Tab)
		at, err := webtest.Focused(p.ctx)
		p.must(err)
		seen[at] = true
	}
	for _, id := range want {
		if !seen[id] {
			p.Errorf("Tab does not reach %q", id)
		}
	}
	if !eval[bool](p, `(() => { document.getElementById("line-code").focus(); const s = getComputedStyle(document.activeElement); return s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2; })()`) {
		p.Error("the focus is not visible")
	}
}

func playStorage(p *page) {
	p.toTrial()
	p.key("i", chromedp.ModifierAlt)
	p.wait(`document.getElementById("holder-number").textContent === "510104195807121269"`)
	p.key("l", chromedp.ModifierAlt)
	p.must(webtest.Settle(p.ctx))
	stored := eval[string](p, `JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href, document.title, history.length > 3])`)
	if want := fmt.Sprintf(`[{"onecard.language":"en"},{},"","%s/","onecard 收费窗口",false]`, p.base); stored != want {
		p.Errorf("the page keeps %s, want %s", stored, want)
	}
	for _, u := range p.watch.URLs() {
		if strings.Contains(u, "5101") || strings.Contains(u, "%E") {
			p.Errorf("an address carries something personal: %s", u)
		}
	}
}
