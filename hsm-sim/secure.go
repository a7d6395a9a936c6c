package hsmsim

import (
	"errors"

	"onecard/card/keys"
	"onecard/hsm-sim/hsm"
)

// insReloadPIN is the instruction of PIN UNBLOCK and RELOAD PIN, which have
// commands of their own and are not to be had by securing any command.
const insReloadPIN = 0x24

// secure makes a whole secured command.
func (s *Server) secure(f *hsm.Frame) ([]hsm.Field, error) {
	session, err := s.session(f, keys.UseSecure, hsm.TagChallenge)
	if err != nil {
		return nil, err
	}
	defer session.Wipe()
	var command []byte
	switch f.Command {
	case hsm.CommandUnblockPIN:
		command, err = session.UnblockPIN()
	case hsm.CommandReloadPIN:
		pin, _ := f.Value(hsm.TagPIN)
		command, err = session.ReloadPIN(pin)
	default:
		header, _ := f.Value(hsm.TagHeader)
		if header[0]&0x04 == 0 || header[1] == insReloadPIN {
			return nil, &hsm.FormError{Status: hsm.StatusFieldValue, Text: "not a command to be secured here"}
		}
		data, _ := f.Value(hsm.TagData)
		command, err = session.Secure(keys.Header(header), data)
	}
	if err != nil {
		return nil, err
	}
	return []hsm.Field{{Tag: hsm.TagSecured, Value: command}}, nil
}

// purchase makes MAC1, or checks what the card made. It never hands out MAC2 or
// TAC: whoever could get them could pretend that a card had debited.
func (s *Server) purchase(f *hsm.Frame) ([]hsm.Field, error) {
	use := keys.UseDebit
	if f.Command == hsm.CommandPurchaseTAC {
		use = keys.UseTAC
	}
	subject, cardKey, err := s.cardKey(f, use)
	if err != nil {
		return nil, err
	}
	defer cardKey.Wipe()
	p, err := hsm.ParsePurchase(f)
	if err != nil {
		return nil, err
	}
	given, _ := f.Value(hsm.TagMAC)
	if f.Command == hsm.CommandPurchaseTAC {
		tac, err := p.TAC(subject.Algorithm, cardKey)
		return nil, verdict(tac, given, err)
	}
	session, err := p.Session(subject.Algorithm, cardKey)
	if err != nil {
		return nil, err
	}
	defer session.Wipe()
	if f.Command == hsm.CommandPurchaseMAC2 {
		return nil, verdict(p.MAC2(&session), given, nil)
	}
	mac := p.MAC1(&session)
	return []hsm.Field{{Tag: hsm.TagMAC, Value: mac[:]}}, nil
}

// load orders a credit to a card that has proved itself, or checks its TAC.
func (s *Server) load(f *hsm.Frame) ([]hsm.Field, error) {
	use := keys.UseLoad
	if f.Command == hsm.CommandLoadTAC {
		use = keys.UseTAC
	}
	subject, cardKey, err := s.cardKey(f, use)
	if err != nil {
		return nil, err
	}
	defer cardKey.Wipe()
	l, err := hsm.ParseLoad(f)
	if err != nil {
		return nil, err
	}
	given, _ := f.Value(hsm.TagMAC)
	if f.Command == hsm.CommandLoadTAC {
		tac, err := l.TAC(subject.Algorithm, cardKey)
		if errors.Is(err, keys.ErrSubject) {
			return nil, &hsm.FormError{Status: hsm.StatusFieldValue, Text: "balance and amount do not fit into 4 bytes"}
		}
		return nil, verdict(tac, given, err)
	}
	session, err := l.Session(subject.Algorithm, cardKey)
	if err != nil {
		return nil, err
	}
	defer session.Wipe()
	if err := verdict(l.MAC1(&session), given, nil); err != nil {
		return nil, err
	}
	mac := l.MAC2(&session)
	return []hsm.Field{{Tag: hsm.TagMAC, Value: mac[:]}}, nil
}

func verdict(want [keys.MACSize]byte, given []byte, err error) error {
	if err == nil && !keys.Equal(want[:], given) {
		return &hsm.FormError{Status: hsm.StatusMAC}
	}
	return err
}
