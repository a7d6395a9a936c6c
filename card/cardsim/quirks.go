package cardsim

import "fmt"

// A Quirk is a way in which real cards differ from the card specification, or
// in which a card can be bad. Its text is its name for command lines.
type Quirk string

// The quirks.
const (
	QuirkMode5Parameters Quirk = "mode5-6a86"
	QuirkMode5Structure  Quirk = "mode5-6981"
	QuirkGetResponse     Quirk = "get-response"
	QuirkStrictLe        Quirk = "strict-le"
	QuirkSelectP1Zero    Quirk = "select-p1-00"
	QuirkSpacePadded     Quirk = "space-padded"
	QuirkRootSSSE        Quirk = "ssse-is-mf"
	QuirkEndless61       Quirk = "endless-61"
	QuirkEndless6C       Quirk = "endless-6c"
	QuirkGarbage         Quirk = "garbage"
	QuirkShort           Quirk = "short"
	QuirkMute            Quirk = "mute"
	QuirkSSF33           Quirk = "ssf33"
	QuirkAppBlocked      Quirk = "application-blocked"
	QuirkCardBlocked     Quirk = "card-blocked"
	QuirkNotGenuine      Quirk = "not-genuine"
	QuirkPINBlocked      Quirk = "pin-blocked"
)

// A QuirkInfo describes a quirk in one line.
type QuirkInfo struct {
	Quirk       Quirk
	Description string
}

// Quirks lists all quirks, for help texts.
func Quirks() []QuirkInfo {
	return []QuirkInfo{
		{QuirkMode5Parameters, "READ RECORD mode 5 (all records) is refused with 6A86"},
		{QuirkMode5Structure, "READ RECORD mode 5 (all records) is refused with 6981"},
		{QuirkGetResponse, "every answer with data waits behind 61xx and GET RESPONSE (bare T=0)"},
		{QuirkStrictLe, "an Le that is not the exact length is answered with 6Cxx"},
		{QuirkSelectP1Zero, "an EF can be selected with P1=00 only; P1=02 gives 6A86"},
		{QuirkSpacePadded, "texts are filled with spaces instead of 00"},
		{QuirkRootSSSE, "SSSE is the MF itself, as on some 1.0 cards: no DDF1 below it"},
		{QuirkEndless61, "every answer is 61xx, GET RESPONSE's too"},
		{QuirkEndless6C, "every answer is 6Cxx"},
		{QuirkGarbage, "every answer is 258 bytes of noise"},
		{QuirkShort, "every answer is a single byte"},
		{QuirkMute, "the card does not answer to reset"},
		{QuirkSSF33, "the FCI says that the algorithm is SSF33; no key works"},
		{QuirkAppBlocked, "the social security application is blocked: its SELECT gives 9303"},
		{QuirkCardBlocked, "the card is blocked: every SELECT gives 6A81"},
		{QuirkNotGenuine, "INTERNAL AUTHENTICATE answers with a wrong key"},
		{QuirkPINBlocked, "the PIN is blocked from the beginning"},
	}
}

// ParseQuirk returns the quirk of that name.
func ParseQuirk(name string) (Quirk, error) {
	for _, q := range Quirks() {
		if string(q.Quirk) == name {
			return q.Quirk, nil
		}
	}
	return "", fmt.Errorf("no quirk of that name; there are %v", quirkNames())
}

func quirkNames() []Quirk {
	var names []Quirk
	for _, q := range Quirks() {
		names = append(names, q.Quirk)
	}
	return names
}
