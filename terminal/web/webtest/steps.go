package webtest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// patience bounds the wait for one thing to appear on the page.
const patience = 30 * time.Second

// A Line is one fee line as it is typed.
type Line struct{ Code, Name, Quantity, Price string }

// A Receipt is what the page shows after a settlement, as text.
type Receipt struct {
	SettlementID string
	Cash         string // "¥ 12.34"
	Text         string // the whole receipt
}

// A Script says what happens in a visit.
type Script struct {
	PIN     bool     // the holder enters the PIN
	Records []string // files to look at after it, e.g. DF03EF07
	Lines   []Line
	Pasted  string // a list that is pasted after the lines
	English bool   // switch the language first
}

// An Outcome is what a visit came to.
type Outcome struct {
	Records map[string]string // file to the text shown
	Total   string            // "¥ 60.00"
	Fund    string
	Account string
	ToPay   string
	Receipt Receipt
}

// PlayVisit opens the page, waits for the card and plays a whole visit with the
// keyboard alone, up to the receipt.
func PlayVisit(ctx context.Context, base string, script Script) (Outcome, error) {
	outcome := Outcome{Records: make(map[string]string)}
	if err := Open(ctx, base); err != nil {
		return outcome, err
	}
	if script.English {
		if err := Key(ctx, "l", chromedp.ModifierAlt); err != nil {
			return outcome, err
		}
		if err := Wait(ctx, `document.documentElement.lang === "en"`); err != nil {
			return outcome, err
		}
	}
	if err := WaitStep(ctx, "ready"); err != nil {
		return outcome, err
	}
	if script.PIN {
		if err := AskPIN(ctx); err != nil {
			return outcome, err
		}
	}
	for _, file := range script.Records {
		text, err := Record(ctx, file)
		if err != nil {
			return outcome, err
		}
		outcome.Records[file] = text
	}
	if err := StartVisit(ctx); err != nil {
		return outcome, err
	}
	for _, line := range script.Lines {
		if err := AddLine(ctx, line); err != nil {
			return outcome, err
		}
	}
	if script.Pasted != "" {
		if err := Paste(ctx, script.Pasted); err != nil {
			return outcome, err
		}
	}
	if err := Trial(ctx, &outcome); err != nil {
		return outcome, err
	}
	if err := Settle(ctx); err != nil {
		return outcome, err
	}
	receipt, err := ReadReceipt(ctx)
	outcome.Receipt = receipt
	return outcome, err
}

// Open loads the page and waits until it shows a state.
func Open(ctx context.Context, base string) error {
	if err := chromedp.Do(ctx, chromedp.Navigate(strings.TrimSuffix(base, "/")+"/")); err != nil {
		return fmt.Errorf("open %s: %w", base, err)
	}
	return Wait(ctx, `document.body.dataset.connected === "true" && document.body.dataset.step !== "none"`)
}

// Wait waits until an expression of the page is true. It looks again at every
// change of the document.
func Wait(ctx context.Context, expression string) error {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := chromedp.Run(bounded, chromedp.Poll[bool]("Boolean("+expression+")", chromedp.WithPollingInterval(20*time.Millisecond)))
	if err != nil {
		shown, _ := Text(ctx, "body")
		return fmt.Errorf("wait for %s: %w; the page shows:\n%s", expression, err, shown)
	}
	return nil
}

// WaitStep waits until the desk is at a step: waiting, reading, failed, ready,
// fees, tried, settling, settled or unknown.
func WaitStep(ctx context.Context, step string) error {
	return Wait(ctx, fmt.Sprintf(`document.body.dataset.step === %q && document.body.dataset.busy === "false"`, step))
}

// Key presses one key, or types one text, where the focus is.
func Key(ctx context.Context, keys string, modifiers ...chromedp.Modifier) error {
	return chromedp.Do(ctx, chromedp.KeyEvent(keys, chromedp.KeyModifiers(modifiers...)))
}

// Type puts text into the focused field as an input method does.
func Type(ctx context.Context, text string) error {
	return chromedp.Do(ctx, chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, input.InsertText, input.InsertTextParams{Text: text})
		return err
	}))
}

// Text returns the visible text of the first element that a selector matches.
func Text(ctx context.Context, selector string) (string, error) {
	return chromedp.Run(ctx, chromedp.Evaluate[string](fmt.Sprintf(`document.querySelector(%q)?.innerText ?? ""`, selector)))
}

// Focused returns the id of the focused element.
func Focused(ctx context.Context) (string, error) {
	return chromedp.Run(ctx, chromedp.Evaluate[string](`document.activeElement?.id ?? ""`))
}

// TabTo moves the focus with the Tab key until it is on an element.
func TabTo(ctx context.Context, id string) error {
	for range 200 {
		at, err := Focused(ctx)
		if err != nil {
			return err
		}
		if at == id {
			return nil
		}
		if err := Key(ctx, kb.Tab); err != nil {
			return err
		}
	}
	return fmt.Errorf("#%s is not reached by Tab", id)
}

// AskPIN asks the PIN pad and waits until the PIN is verified.
func AskPIN(ctx context.Context) error {
	// A key that is pressed while the page waits for another answer does nothing.
	if err := Wait(ctx, `document.body.dataset.busy === "false" && !document.getElementById("ask-pin").disabled`); err != nil {
		return err
	}
	if err := Key(ctx, "p", chromedp.ModifierAlt); err != nil {
		return err
	}
	return Wait(ctx, `document.getElementById("pin-state").dataset.verified === "true" && document.body.dataset.busy === "false"`)
}

// Record opens one file of the card and returns what the page says about it.
func Record(ctx context.Context, file string) (string, error) {
	if err := TabTo(ctx, "record-"+file); err != nil {
		return "", err
	}
	if err := Key(ctx, kb.Enter); err != nil {
		return "", err
	}
	if err := Wait(ctx, fmt.Sprintf(`document.getElementById("record-%s").getAttribute("aria-expanded") === "true" && document.body.dataset.busy === "false"`, file)); err != nil {
		return "", err
	}
	return Text(ctx, "#record-view")
}

// StartVisit starts a visit with the card that is in the reader.
func StartVisit(ctx context.Context) error {
	if err := Wait(ctx, `document.getElementById("start-visit").getAttribute("aria-disabled") !== "true"`); err != nil {
		return err
	}
	if err := Key(ctx, kb.F8); err != nil {
		return err
	}
	return WaitStep(ctx, "fees")
}

// lines is the number of fee lines on the page.
func lines(ctx context.Context) (int, error) {
	return chromedp.Run(ctx, chromedp.Evaluate[int](`document.querySelectorAll("#lines-body tr").length`))
}

// AddLine types a fee line: Tab from field to field, Enter at the end.
func AddLine(ctx context.Context, line Line) error {
	before, err := lines(ctx)
	if err != nil {
		return err
	}
	if err := Key(ctx, kb.F2); err != nil {
		return err
	}
	if err := Wait(ctx, `document.activeElement?.id === "line-code"`); err != nil {
		return err
	}
	for i, text := range []string{line.Code, line.Name, line.Quantity, line.Price} {
		if i > 0 {
			if err := Key(ctx, kb.Tab); err != nil {
				return err
			}
		}
		if err := Fill(ctx, text); err != nil {
			return err
		}
	}
	if err := Key(ctx, kb.Enter); err != nil {
		return err
	}
	return Wait(ctx, fmt.Sprintf(`document.querySelectorAll("#lines-body tr").length === %d && document.body.dataset.busy === "false" && document.getElementById("line-code").value === ""`, before+1))
}

// Fill replaces the text of the focused field.
func Fill(ctx context.Context, text string) error {
	// The end of the field, then everything before it: no shortcut is needed that differs between systems.
	if err := Key(ctx, kb.End); err != nil {
		return err
	}
	if err := Key(ctx, kb.Home, chromedp.ModifierShift); err != nil {
		return err
	}
	return Type(ctx, text)
}

// Paste pastes a list into the preview and takes it over; it fails where a line
// has an error.
func Paste(ctx context.Context, text string) error {
	if err := OpenPaste(ctx, text); err != nil {
		return err
	}
	if err := Wait(ctx, `document.getElementById("paste-add").getAttribute("aria-disabled") !== "true"`); err != nil {
		return err
	}
	if err := TabTo(ctx, "paste-add"); err != nil {
		return err
	}
	if err := Key(ctx, kb.Enter); err != nil {
		return err
	}
	return Wait(ctx, `!document.getElementById("paste-dialog").open && document.body.dataset.busy === "false"`)
}

// OpenPaste pastes a list into the preview.
func OpenPaste(ctx context.Context, text string) error {
	if err := Key(ctx, kb.F4); err != nil {
		return err
	}
	if err := Wait(ctx, `document.activeElement?.id === "paste-text"`); err != nil {
		return err
	}
	return Type(ctx, text)
}

// Trial runs the trial and reads the split.
func Trial(ctx context.Context, outcome *Outcome) error {
	if err := Wait(ctx, `document.getElementById("run-trial").getAttribute("aria-disabled") !== "true"`); err != nil {
		return err
	}
	if err := Key(ctx, kb.F8); err != nil {
		return err
	}
	if err := WaitStep(ctx, "tried"); err != nil {
		return err
	}
	for _, part := range []struct {
		selector string
		into     *string
	}{{"#trial-split .total dd", &outcome.Total}, {"#trial-split .fund dd", &outcome.Fund}, {"#trial-split .account dd", &outcome.Account}, {"#trial-cash", &outcome.ToPay}} {
		text, err := Text(ctx, part.selector)
		if err != nil {
			return err
		}
		*part.into = text
	}
	return nil
}

// Confirm opens the confirmation and returns what it asks.
func Confirm(ctx context.Context) (string, error) {
	if err := Wait(ctx, `document.getElementById("settle").getAttribute("aria-disabled") !== "true"`); err != nil {
		return "", err
	}
	if err := Key(ctx, kb.F8); err != nil {
		return "", err
	}
	if err := Wait(ctx, `document.activeElement?.id === "settle-confirm"`); err != nil {
		return "", err
	}
	return Text(ctx, "#settle-dialog")
}

// Settle confirms and settles; it returns when the receipt is there.
func Settle(ctx context.Context) error { return SettleTo(ctx, "settled") }

// SettleTo settles and waits for another step than the receipt.
func SettleTo(ctx context.Context, step string) error {
	if _, err := Confirm(ctx); err != nil {
		return err
	}
	if err := Key(ctx, kb.Enter); err != nil {
		return err
	}
	return WaitStep(ctx, step)
}

// ReadReceipt reads the receipt on the page.
func ReadReceipt(ctx context.Context) (Receipt, error) {
	var receipt Receipt
	for _, part := range []struct {
		selector string
		into     *string
	}{{"#settlement-id", &receipt.SettlementID}, {"#receipt-cash", &receipt.Cash}, {"#receipt", &receipt.Text}} {
		text, err := Text(ctx, part.selector)
		if err != nil {
			return receipt, err
		}
		*part.into = text
	}
	return receipt, nil
}

// NextPatient puts the finished visit away.
func NextPatient(ctx context.Context) error {
	if err := Key(ctx, kb.F8); err != nil {
		return err
	}
	return Wait(ctx, `!["settled", "unknown"].includes(document.body.dataset.step)`)
}

// Journal opens the journal of the day and returns its rows as text.
func Journal(ctx context.Context) ([]string, error) {
	if err := Key(ctx, "j", chromedp.ModifierAlt); err != nil {
		return nil, err
	}
	if err := Wait(ctx, `document.body.dataset.view === "journal" && document.body.dataset.busy === "false" && document.getElementById("journal-totals").childElementCount > 0`); err != nil {
		return nil, err
	}
	return chromedp.Run(ctx, chromedp.Evaluate[[]string](`[...document.querySelectorAll("#journal-body tr")].map((row) => row.innerText)`))
}

// Screenshot returns the whole page as PNG.
func Screenshot(ctx context.Context) ([]byte, error) {
	return chromedp.Run(ctx, chromedp.FullScreenshot(100))
}
