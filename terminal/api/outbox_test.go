package api_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"onecard/settlement/centersim"
	"onecard/terminal"
	"onecard/terminal/internal/deskbed"
)

// The outbox as a program sees it: what could not be delivered is listed, counted
// for monitors, shown, and decided by somebody with a reason.
func TestOutboxOverTheInterface(t *testing.T) {
	d := open(t, deskbed.Options{Configure: func(c *terminal.Config) {
		c.Outbox = terminal.OutboxConfig{FirstPause: terminal.Duration(time.Millisecond), LongestPause: terminal.Duration(5 * time.Millisecond)}
	}})
	d.Ready()
	v := d.Tried()
	refuse := centersim.Fault{Infno: "2202", Kind: centersim.Refuse, Text: "不可撤销"}
	if err := d.Center.Order(refuse, refuse); err != nil {
		t.Fatal(err)
	}
	if err := d.Service.Abandon(t.Context(), v.ID); err != nil {
		t.Fatal(err)
	}
	d.Await("a dead letter", func(s terminal.State) bool { return s.Outbox.Dead == 1 })
	bearer := "Bearer " + token
	call := func(method, path, body string, want int, into any) {
		t.Helper()
		status, _, answer := d.call(method, path, body, "Authorization", bearer)
		if status != want {
			t.Fatalf("%s %s: %d %s", method, path, status, answer)
		}
		if into != nil {
			if err := json.Unmarshal([]byte(answer), into); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, _, metrics := d.call("GET", "/metrics", "")
	for _, want := range []string{`onecard_outbox_items{kind="withdraw",state="dead"} 1`, `onecard_outbox_oldest_seconds{kind="withdraw"} `, `onecard_condition_ok{condition="outbox"} 0`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	var list terminal.OutboxList
	call("GET", "/v1/outbox?state=dead&kind=withdraw&limit=5", "", 200, &list)
	if len(list.Items) != 1 || list.Items[0].Lane != v.ID || list.Items[0].Fault.Detail != "不可撤销" || len(list.Kinds) != 1 || list.Kinds[0].Dead != 1 {
		t.Fatalf("listed: %+v", list)
	}
	call("GET", "/v1/outbox?before=x", "", 400, nil)
	call("GET", "/v1/outbox?before=1", "", 200, &list)
	if len(list.Items) != 0 {
		t.Errorf("before the first: %+v", list.Items)
	}
	call("GET", "/v1/outbox/one", "", 400, nil)
	call("POST", "/v1/outbox/1/retry", `{"who":"chief"}`, 400, nil)
	call("POST", "/v1/outbox/x/drop", `{"who":"chief","reason":"told by telephone"}`, 400, nil)
	call("POST", "/v1/outbox", `{"infno":"2207","once":"1","input":{}}`, 409, nil)
	call("POST", "/v1/outbox/refund", `{"entry":99}`, 404, nil)
	var detail terminal.OutboxDetail
	call("POST", "/v1/outbox/1/drop", `{"who":"chief","reason":"told by telephone"}`, 200, &detail)
	if detail.State != "dropped" || len(detail.Decisions) != 1 || detail.Decisions[0].Reason != "told by telephone" {
		t.Errorf("dropped: %+v", detail)
	}
	call("GET", "/v1/outbox/1", "", 200, &detail)
	if detail.Content != "{}" {
		t.Errorf("content: %q", detail.Content)
	}
	if s := d.Service.State(); s.Outbox != (terminal.OutboxTotal{}) {
		t.Errorf("counted: %+v", s.Outbox)
	}
}
