package terminal

import (
	"encoding/json"
	"reflect"
	"testing"

	"onecard/settlement"
	"onecard/settlement/region"
)

// What is stored in the outbox may have been written by another version, or by
// somebody: it is read or refused, and what is read makes a request or none.
func FuzzStoredLetters(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `[]`, `{"infno":"3401","input":{"data":{}}}`, `{"infno":"3401","input":1}{}`, `{"entry":7,"reason":"policy"}`, `{"entry":-1}`,
		`{"id":"00","card":"51","account":"36.80","self_paid":0,"pooling":0,"tac":"00"}`,
		`{"id":"0123456789abcdef0123456789abcdef","card":"510100D156000005","type":"2","sequence":4,"terminal":"510100000001","terminal_sequence":2,"time":"2026-11-21 08:00:00","account":36.80,"self_paid":0.00,"pooling":0.00,"before":1234.56,"after":1197.76,"algorithm":"03","key_version":"01","random":"00112233","tac":"5f3a90c1","verified":true,"card_number":"A0000001X","certno":"510104195807120024","name":"某人","area":"510100","operator":"0001"}`,
	} {
		f.Add([]byte(seed))
	}
	rules, err := region.Load("one-endpoint")
	if err != nil {
		f.Fatal(err)
	}
	catalogue, err := rules.Catalogue()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		again(t, body, readLetter[queued])
		again(t, body, readLetter[RefundRequest])
		d, ok := again(t, body, readLetter[settlement.CardDebit])
		if !ok {
			return
		}
		input, err := rules.Offline.Input(d)
		if err != nil {
			return // an amount that cannot be written
		}
		if err := catalogue.Validate(rules.Offline.Infno, input); err == nil && (d.TAC == "" || d.Card == "" || d.Time == "") {
			t.Errorf("an upload without its signature: %s", input)
		}
	})
}

// again reads a body, writes what was read and reads that: it is the same.
func again[T any](t *testing.T, body []byte, read func([]byte) (T, error)) (T, bool) {
	v, err := read(body)
	if err != nil {
		return v, false
	}
	text, err := json.Marshal(v)
	if err != nil {
		return v, false
	}
	if w, err := read(text); err != nil || !reflect.DeepEqual(normal(t, v), normal(t, w)) {
		t.Errorf("%s is read as %+v and then as %+v, %v", body, v, w, err)
	}
	return v, true
}

// normal is a value as JSON, in which null and absent are one.
func normal(t *testing.T, v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
