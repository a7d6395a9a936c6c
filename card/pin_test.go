package card_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"onecard/card"
	"onecard/fault"
)

func TestPIN(t *testing.T) {
	s := example(t, "2.0")
	c := open(t, s)
	if n, err := c.TriesLeft(t.Context()); n != 6 || err != nil {
		t.Fatalf("%d tries, %v", n, err)
	}
	for _, bad := range []string{"", "123", "12345678901234567", "12a456"} {
		if err := c.VerifyPIN(t.Context(), card.PIN(bad)); !errors.Is(err, card.ErrPINFormat) {
			t.Errorf("%d characters: %v", len(bad), err)
		}
	}
	if n, _ := c.TriesLeft(t.Context()); n != 6 {
		t.Errorf("a PIN that is none used up a try: %d left", n)
	}
	for want := 5; want >= 1; want-- {
		var wrong *card.WrongPINError
		err := c.VerifyPIN(t.Context(), card.PIN("000000"))
		if !errors.As(err, &wrong) || wrong.TriesLeft != want || fault.Of(err).Code != fault.PINWrong || c.PINVerified() {
			t.Fatalf("want %d tries left: %v", want, err)
		}
	}
	pin := card.PIN("123456")
	if err := c.VerifyPIN(t.Context(), pin); err != nil || !c.PINVerified() {
		t.Fatal(err)
	}
	if string(pin) != strings.Repeat("\x00", 6) {
		t.Error("the PIN was not wiped")
	}
	if err := c.VerifyPIN(t.Context(), card.PIN("000000")); err == nil || c.PINVerified() {
		t.Errorf("a wrong PIN must undo a right one: %v", err)
	}
	for {
		err := c.VerifyPIN(t.Context(), card.PIN("000000"))
		if errors.Is(err, card.ErrPINBlocked) {
			if fault.Of(err).Code != fault.PINBlocked {
				t.Error(err)
			}
			break
		}
	}
	if n, err := c.TriesLeft(t.Context()); n != 0 || err != nil {
		t.Errorf("blocked: %d, %v", n, err)
	}
	if err := c.VerifyPIN(t.Context(), card.PIN("123456")); !errors.Is(err, card.ErrPINBlocked) {
		t.Errorf("blocked: %v", err)
	}
}

func TestPINPrintsStars(t *testing.T) {
	pin := card.PIN("123456")
	b, _ := json.Marshal(map[string]any{"pin": pin, "list": []card.PIN{pin}})
	text := fmt.Sprintf("%v %s %x %q %d %#v %+v %X", pin, pin, pin, pin, pin, pin, pin, []card.PIN{pin}) + pin.String() + string(b)
	for _, leak := range []string{"123456", "3132", "49", "MTIz"} {
		if strings.Contains(text, leak) {
			t.Errorf("%s in %s", leak, text)
		}
	}
}

func TestPINOddAndLong(t *testing.T) {
	for _, pin := range []string{"1234", "12345", "1234567890123456", "123456789012345"} {
		s := changed(t, "2.0", func(m map[string]any) { m["pin"] = pin })
		if err := open(t, s).VerifyPIN(t.Context(), card.PIN(pin)); err != nil {
			t.Errorf("%d digits: %v", len(pin), err)
		}
	}
}
