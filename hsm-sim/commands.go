package hsmsim

import (
	"errors"

	"onecard/card/keys"
	"onecard/hsm-sim/hsm"
)

var algorithms = []keys.Algorithm{keys.DES, keys.SM4}

// answer carries out one request.
func (s *Server) answer(f hsm.Frame) hsm.Frame {
	fields, err := s.execute(&f)
	if err != nil {
		var form *hsm.FormError
		if errors.As(err, &form) {
			return refusal(f, form.Status, form.Text)
		}
		s.log.WithError(err).WithField("command", f.Command.String()).Error("internal error")
		return refusal(f, hsm.StatusInternal, "")
	}
	return response(f, hsm.StatusOK, fields)
}

func (s *Server) execute(f *hsm.Frame) ([]hsm.Field, error) {
	if err := hsm.CheckRequest(f); err != nil {
		return nil, err
	}
	switch f.Command {
	case hsm.CommandStatus:
		return s.info().Fields(), nil
	case hsm.CommandEcho:
		v, _ := f.Value(hsm.TagEcho)
		return []hsm.Field{{Tag: hsm.TagEcho, Value: v}}, nil
	case hsm.CommandInternalAuth:
		return s.authenticate(f, keys.UseInternal, hsm.TagProcess)
	case hsm.CommandExternalAuth:
		return s.authenticate(f, keys.UseExternal, hsm.TagChallenge)
	case hsm.CommandSecure, hsm.CommandUnblockPIN, hsm.CommandReloadPIN:
		return s.secure(f)
	case hsm.CommandPurchase, hsm.CommandPurchaseMAC2, hsm.CommandPurchaseTAC:
		return s.purchase(f)
	case hsm.CommandLoad, hsm.CommandLoadTAC:
		return s.load(f)
	}
	return nil, &hsm.FormError{Status: hsm.StatusCommand, Text: "no command " + f.Command.String()}
}

// authenticate derives the card key and answers for raw; random is the field
// from which the session key comes.
func (s *Server) authenticate(f *hsm.Frame, use keys.Use, random hsm.Tag) ([]hsm.Field, error) {
	session, err := s.session(f, use, random)
	if err != nil {
		return nil, err
	}
	defer session.Wipe()
	raw, _ := f.Value(hsm.TagRaw)
	answer := session.Authenticate([8]byte(raw))
	return []hsm.Field{{Tag: hsm.TagAnswer, Value: answer[:]}}, nil
}

// session derives the card key and ties it to a challenge or process factor.
func (s *Server) session(f *hsm.Frame, use keys.Use, random hsm.Tag) (keys.Session, error) {
	subject, cardKey, err := s.cardKey(f, use)
	if err != nil {
		return keys.Session{}, err
	}
	defer cardKey.Wipe()
	r, _ := f.Value(random)
	session, err := keys.NewSession(subject.Algorithm, cardKey, r)
	if errors.Is(err, keys.ErrSubject) {
		return session, &hsm.FormError{Status: hsm.StatusFieldValue, Text: "a challenge has 4, 8 or 16 bytes"}
	}
	return session, err
}

// cardKey derives the card key that the request names. The key must be for the
// use.
func (s *Server) cardKey(f *hsm.Frame, use keys.Use) (keys.Subject, keys.Key, error) {
	subject, name, err := hsm.ParseSubject(f)
	if err != nil {
		return subject, keys.Key{}, err
	}
	entry, ok := s.ring.Table().Lookup(name)
	if !ok {
		return subject, keys.Key{}, &hsm.FormError{Status: hsm.StatusKeyUnknown, Text: "no key of that name"}
	}
	if entry.Use != use {
		return subject, keys.Key{}, &hsm.FormError{Status: hsm.StatusKeyUse, Text: name + " is a key for " + string(entry.Use) + " use"}
	}
	cardKey, err := s.ring.CardKey(subject, name)
	if errors.Is(err, keys.ErrKeyUnknown) {
		return subject, keys.Key{}, &hsm.FormError{Status: hsm.StatusKeyUnknown, Text: "no such version of " + name}
	}
	return subject, cardKey, err
}

func response(f hsm.Frame, status hsm.Status, fields []hsm.Field) hsm.Frame {
	return hsm.Frame{Version: hsm.Version, Kind: hsm.Response, Command: f.Command, ID: f.ID, Status: status, Fields: fields}
}

func refusal(f hsm.Frame, status hsm.Status, text string) hsm.Frame {
	var fields []hsm.Field
	if text != "" {
		fields = []hsm.Field{{Tag: hsm.TagText, Value: []byte(text)}}
	}
	return response(f, status, fields)
}
