package terminal

import (
	"testing"

	"onecard/reader"
)

func TestRoleOfASlot(t *testing.T) {
	s := New(Config{Readers: []ReaderConfig{
		{Kind: "pcsc", Match: "*", Serial: "0815", Role: RolePSAM},
		{Kind: "pcsc", Match: "ACME [field] ?? *", Role: RoleContactless},
		{Kind: "pcsc", Match: "ACME *", Role: RoleAuto},
		{Kind: "pcsc", Match: "Bank*", Role: RoleIgnore},
	}}, Parts{})
	for _, c := range []struct{ kind, name, role, shown string }{
		{"pcsc", "ACME [contact] (0815) 00 00", RolePSAM, RolePSAM},
		{"pcsc", "ACME [contact] (4711) 00 00", RoleAuto, RoleUser},
		{"pcsc", "ACME [contact] 0815 00 00", RoleAuto, RoleUser},
		{"pcsc", "ACME [field] 00 01", RoleContactless, RoleContactless},
		{"pcsc", "ACME Dual PICC 00 00", RoleAuto, RoleContactless},
		{"pcsc", "Bank 00 00", RoleIgnore, RoleIgnore},
		{"pcsc", "Other 00 00", "", ""},
		{"virtual", "ACME [contact] (0815) 00 00", "", ""},
	} {
		slot := reader.SlotState{Kind: c.kind, Slot: c.name}
		role := s.role(slot)
		if shown := shownRole(slot, role); role != c.role || shown != c.shown {
			t.Errorf("%s: %q, shown as %q; want %q, %q", c.name, role, shown, c.role, c.shown)
		}
	}
}

func TestPreferredReader(t *testing.T) {
	order := []Reader{
		{State: ReaderEmpty, Role: RoleContactless},
		{State: ReaderEmpty, Role: RoleUser},
		{State: ReaderFailed, Role: RoleContactless},
		{State: ReaderReading, Role: RoleUser},
		{State: ReaderReady, Role: RoleContactless},
		{State: ReaderReady, Role: RoleUser},
	}
	for i := range order[1:] {
		if preference(order[i]) >= preference(order[i+1]) {
			t.Errorf("%+v is preferred to %+v", order[i], order[i+1])
		}
	}
}
