package terminal_test

import (
	"testing"

	"onecard/fault"
	"onecard/reader/virtual"
	"onecard/terminal"
	"onecard/terminal/internal/deskbed"
)

// at returns the reader of a name.
func at(s terminal.State, name string) terminal.Reader {
	for _, r := range s.Readers {
		if r.Name == name {
			return r
		}
	}
	return terminal.Reader{}
}

// condition returns a condition of health; there tells whether anybody has looked.
func condition(s terminal.State, name string) (c terminal.Condition, there bool) {
	for _, c := range s.Health {
		if c.Name == name {
			return c, true
		}
	}
	return c, false
}

func authenticated(s terminal.State) bool {
	r := at(s, deskbed.Slot)
	return r.State == terminal.ReaderReady && r.Card != nil && r.Card.Authenticated
}

// The PSAM of a second slot authenticates cards where there is no HSM, whether the
// configuration names its slot or the service finds it there; a card that was read
// before it came is authenticated when it comes.
func TestPSAMHoldsTheKeys(t *testing.T) {
	for _, role := range []string{terminal.RolePSAM, terminal.RoleAuto} {
		t.Run(role, func(t *testing.T) {
			b := deskbed.New(t, deskbed.Options{SAMRole: role, NoHSM: true, Image: "3.0"})
			b.Await("a card that nobody can authenticate", func(s terminal.State) bool {
				r := at(s, deskbed.Slot)
				return r.State == terminal.ReaderReady && r.Card.AuthFault != nil && r.Card.AuthFault.Code == fault.NoKeyHolder
			})
			b.InsertPSAM()
			s := b.Await("the card authenticated by the PSAM", authenticated)
			if r := at(s, deskbed.SAMSlot); r.Role != terminal.RolePSAM || r.State != terminal.ReaderReady || r.Card != nil {
				t.Errorf("the PSAM's slot: %+v", r)
			}
			if c, _ := condition(s, terminal.HealthPSAM); !c.OK {
				t.Errorf("health: %+v", c)
			}
			// Nobody takes the PSAM for a card.
			if _, err := b.Service.Identity(t.Context(), deskbed.SAMSlot); code(err) != fault.SlotUnknown {
				t.Errorf("identity of the PSAM's slot: %v", err)
			}
			// What it computes a debit needs, its terminal number included.
			if err := b.Service.VerifyPIN(t.Context(), "", []byte(deskbed.PIN)); err != nil {
				t.Fatal(err)
			}
			debit, err := b.Service.Debit(t.Context(), "", terminal.DebitRequest{Account: "1.00"})
			if err != nil {
				t.Fatal(err)
			}
			if debit.Terminal == b.Config.Institution.Terminal || len(debit.Terminal) != 12 {
				t.Errorf("debited with terminal %q", debit.Terminal)
			}
		})
	}
}

// A PSAM that is taken out is missed: health says so, and the HSM does its work.
func TestPSAMTakenOut(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{SAMRole: terminal.RolePSAM, Image: "none"})
	b.Await("a PSAM that is missed", func(s terminal.State) bool {
		c, there := condition(s, terminal.HealthPSAM)
		return there && !c.OK && c.Fault.Code == fault.NoPSAM
	})
	b.InsertPSAM()
	b.Await("the PSAM", func(s terminal.State) bool { c, _ := condition(s, terminal.HealthPSAM); return c.OK })
	b.StopHSM()
	b.Insert("3.0")
	b.Await("a card authenticated by the PSAM alone", authenticated)
	b.Remove()
	b.StartHSM()
	if err := b.Reader.Remove(deskbed.SAMSlot); err != nil {
		t.Fatal(err)
	}
	b.Await("health without PSAM", func(s terminal.State) bool {
		c, _ := condition(s, terminal.HealthPSAM)
		return !c.OK && c.Fault.Code == fault.NoPSAM && at(s, deskbed.SAMSlot).State == terminal.ReaderEmpty
	})
	b.Insert("2.0")
	b.Await("a card authenticated by the HSM", authenticated)
}

// A PSAM whose slot fails in the middle of a computation is opened anew; the HSM
// has finished what it began.
func TestPSAMFailsInTheMiddle(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{SAMRole: terminal.RolePSAM, Image: "none"})
	b.InsertPSAM()
	b.Await("the PSAM", func(s terminal.State) bool { return at(s, deskbed.SAMSlot).State == terminal.ReaderReady })
	if err := b.Reader.Order(deskbed.SAMSlot, virtual.Fault{Kind: virtual.Fail}); err != nil {
		t.Fatal(err)
	}
	b.Insert("3.0")
	b.Await("the card authenticated all the same", authenticated)
	b.Await("the PSAM again", func(s terminal.State) bool {
		c, _ := condition(s, terminal.HealthPSAM)
		return c.OK && at(s, deskbed.SAMSlot).State == terminal.ReaderReady
	})
}

// Where the caller does not care, the contact slot is meant; a contactless field
// where it alone holds a card.
func TestContactBeforeContactless(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{Field: true, Image: "none"})
	b.Insert("2.0")
	field := b.Card
	if err := b.Reader.Remove(deskbed.Slot); err != nil {
		t.Fatal(err)
	}
	if err := b.Reader.Insert(deskbed.FieldSlot, field); err != nil {
		t.Fatal(err)
	}
	s := b.Await("a card in the field", func(s terminal.State) bool { return at(s, deskbed.FieldSlot).State == terminal.ReaderReady })
	if role := at(s, deskbed.FieldSlot).Role; role != terminal.RoleContactless {
		t.Errorf("the field's role is %q", role)
	}
	if id, err := b.Service.Identity(t.Context(), terminal.AnyReader); err != nil || id.Card.Version != "2.00" {
		t.Errorf("the card in the field: %+v, %v", id.Card, err)
	}
	b.Insert("3.0")
	b.Await("a card in the contact slot", func(s terminal.State) bool { return at(s, deskbed.Slot).State == terminal.ReaderReady })
	if id, err := b.Service.Identity(t.Context(), terminal.AnyReader); err != nil || id.Card.Version != "3.00" {
		t.Errorf("the card in the contact slot: %+v, %v", id.Card, err)
	}
}
