// Package webtest drives the counter page in a real browser, the way a clerk
// does: with the keyboard, looking at what the page shows. It is test support.
//
// The steps take a chromedp context and work against any service that serves
// the page, so that the same visit is played against a backend in memory and
// against the real daemon:
//
//	ctx, watch := webtest.Browser(t)
//	receipt, err := webtest.PlayVisit(ctx, "http://127.0.0.1:8750", webtest.Script{Lines: lines, PIN: true})
//	watch.Check(t, "http://127.0.0.1:8750")
package webtest

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Deadline bounds one browser session.
const Deadline = 3 * time.Minute

// A Watch collects what a good page never does: write to the console, throw,
// break its content policy, ask another host.
type Watch struct {
	mu         sync.Mutex
	complaints []string
	urls       []string
	allowed    []string
}

// Browser starts headless Chromium with an empty profile and returns the
// context of its one tab. Where no Chromium is installed the test is skipped,
// in CI it fails.
func Browser(t testing.TB) (context.Context, *Watch) {
	t.Helper()
	path := chromium()
	if path == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("no Chromium is installed: install the package chromium")
		}
		t.Skip("no Chromium is installed: install the package chromium to test the page")
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		// Only the page's own host is resolved or reached.
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"),
		chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("lang", "zh-CN"),
		chromedp.WindowSize(1440, 1000))
	bounded, cancelDeadline := context.WithTimeout(context.Background(), Deadline)
	allocator, cancelAllocator := chromedp.NewExecAllocator(bounded, options...)
	watch := &Watch{}
	ctx, cancelTab := chromedp.NewContext(allocator, chromedp.WithListener(watch.see))
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Logf("close the browser: %v", err)
		}
		cancelTab()
		cancelAllocator()
		cancelDeadline()
	})
	listen(t, ctx)
	return ctx, watch
}

// Tab opens another tab in the browser of ctx, with storage and cookies of its own.
func Tab(t testing.TB, ctx context.Context) (context.Context, *Watch) {
	t.Helper()
	watch := &Watch{}
	tab, cancel := chromedp.NewContext(ctx, chromedp.WithNewBrowserContext(), chromedp.WithListener(watch.see))
	t.Cleanup(func() {
		if err := chromedp.Cancel(tab); err != nil {
			t.Logf("close the tab: %v", err)
		}
		cancel()
	})
	listen(t, tab)
	return tab, watch
}

// listen has the tab report its requests and complaints.
func listen(t testing.TB, ctx context.Context) {
	t.Helper()
	if err := chromedp.Do(ctx, chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
			return err
		}
		_, err := chromedp.Call(ctx, log.Enable, struct{}{})
		return err
	})); err != nil {
		t.Fatalf("start Chromium: %v", err)
	}
}

func chromium() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// see runs on the browser's message loop.
func (w *Watch) see(event any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		w.complaints = append(w.complaints, "console "+string(e.Type))
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
		w.complaints = append(w.complaints, "exception "+text)
	case *log.EventEntryAdded:
		w.complaints = append(w.complaints, string(e.Entry.Source)+" "+string(e.Entry.Level)+" "+e.Entry.Text+" "+e.Entry.URL)
	case *network.EventRequestWillBeSent:
		w.urls = append(w.urls, e.Request.URL)
	case *network.EventWebSocketCreated:
		w.urls = append(w.urls, e.URL)
	}
}

// Allow lets complaints that contain one of the texts pass: a test that breaks
// the connection on purpose names what the browser then says.
func (w *Watch) Allow(texts ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.allowed = append(w.allowed, texts...)
}

// URLs returns every address that the page asked for, WebSockets included.
func (w *Watch) URLs() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.urls)
}

// Check fails the test for every complaint and every request to another host
// than that of base.
func (w *Watch) Check(t testing.TB, base string) {
	t.Helper()
	own, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.complaints {
		if !slices.ContainsFunc(w.allowed, func(text string) bool { return strings.Contains(c, text) }) {
			t.Errorf("the page complained: %s", c)
		}
	}
	if len(w.urls) == 0 {
		t.Error("no request was seen: the watch does not work")
	}
	for _, raw := range w.urls {
		u, err := url.Parse(raw)
		if err != nil || u.Host != own.Host && u.Scheme != "data" && raw != "about:blank" {
			t.Errorf("the page asked %s", raw)
		}
	}
}
