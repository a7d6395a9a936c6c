package terminal

import (
	"strings"

	"onecard/reader"
)

// What a slot is for.
const (
	RoleAuto        = "auto"        // guessed
	RoleUser        = "user"        // the holder's card
	RoleContactless = "contactless" // the holder's card in a field
	RolePSAM        = "psam"        // a PSAM that holds keys
	RoleIgnore      = "ignore"      // other programs'
)

// shownRole is the role of a slot before a card has answered in it.
func shownRole(slot reader.SlotState, role string) string {
	switch {
	case role != RoleAuto:
		return role
	case contactless(slot.Slot):
		return RoleContactless
	case samSlot(slot.Slot):
		return RolePSAM
	}
	return RoleUser
}

// contactless tells by its name whether a slot is a field: makers of readers with
// both interfaces name them so.
func contactless(name string) bool {
	name = strings.ToUpper(name)
	for _, word := range []string{"CONTACTLESS", "PICC", "NFC", "RFID", "-CL ", " CL "} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// samSlot tells by its name whether a slot is one inside a card unit, where no
// holder's card goes.
func samSlot(name string) bool { return strings.Contains(name, " SAM ") }

// preference says which reader is meant where the caller does not care: one with a
// card that was read before one with another card before an empty one, and among
// these contact before contactless.
func preference(r Reader) int {
	rank := 0
	switch r.State {
	case ReaderReady:
		rank = 4
	case ReaderEmpty:
	default:
		rank = 2
	}
	if r.Role != RoleContactless {
		rank++
	}
	return rank
}
