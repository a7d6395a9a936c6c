package cardsim

import (
	"bytes"
	"io"
	"strings"

	"onecard/apdu"
	"onecard/card/keys"
)

// verify checks the PIN: VERIFY 00 20 00 00. Empty data ask for the tries left
// and use none up.
func (c *Card) verify(cmd apdu.Command) ([]byte, apdu.Status) {
	switch {
	case cmd.P1 == 1 && inCertificates(c.ses.df):
		return c.proveUserPIN(cmd)
	case cmd.P1 != 0 || cmd.P2 != 0:
		return nil, apdu.StatusWrongP1P2
	case c.ses.df == dfMF || inCertificates(c.ses.df) || c.mem.pin == nil:
		return nil, apdu.StatusConditions // the PIN belongs to SSSE
	case len(cmd.Data) == 0 && c.mem.pinTries > 0:
		return nil, triesLeft(c.mem.pinTries)
	case len(cmd.Data) == 0:
		return nil, apdu.StatusBlocked
	case len(cmd.Data) < 2 || len(cmd.Data) > 8:
		return nil, apdu.StatusWrongLength
	}
	return nil, c.checkPIN(cmd.Data, nil)
}

func triesLeft(n int) apdu.Status { return 0x63C0 | apdu.Status(n) }

// checkPIN uses up a try before it compares, so that pulling the card out in
// between wins nothing. A next PIN, if not nil, takes the place of the right
// one.
func (c *Card) checkPIN(pin, next []byte) apdu.Status {
	if c.mem.pinTries == 0 {
		return apdu.StatusBlocked
	}
	c.ses.pin = false
	if sw := c.store(func(m *memory) { m.pinTries-- }); !sw.OK() {
		return sw
	}
	if c.mem.pin == nil || !bytes.Equal(pin, c.mem.pin) {
		return triesLeft(c.mem.pinTries)
	}
	// A change of PIN sets the new one together with the tries.
	sw := c.store(func(m *memory) {
		m.pinTries = m.pinLimit
		if next != nil {
			m.pin = bytes.Clone(next)
		}
	})
	c.ses.pin = sw.OK()
	return sw
}

// changePIN is CHANGE PIN 80 5E 01 00: the old PIN, FF, the new one.
func (c *Card) changePIN(cmd apdu.Command) ([]byte, apdu.Status) {
	if inCertificates(c.ses.df) {
		return c.changeUserPIN(cmd)
	}
	if cmd.P1 != 1 || cmd.P2 != 0 {
		return nil, apdu.StatusWrongP1P2
	}
	if c.ses.df == dfMF || c.mem.pin == nil {
		return nil, apdu.StatusConditions
	}
	former, next, ok := bytes.Cut(cmd.Data, []byte{0xFF})
	if !ok || len(former) < 2 || len(former) > 8 || len(next) < 2 || len(next) > 8 {
		return nil, apdu.StatusWrongLength
	}
	if !validPIN(next) {
		return nil, apdu.StatusWrongData
	}
	return nil, c.checkPIN(former, next)
}

// validPIN reports whether b is 4 to 16 digits in BCD, an odd last nibble F.
func validPIN(b []byte) bool {
	for i, x := range b {
		last := i == len(b)-1
		if x>>4 > 9 || x&15 > 9 && !(last && x&15 == 15) {
			return false
		}
	}
	return len(b) >= 2 && len(b) <= 8 && !(len(b) == 2 && b[1]&15 == 15)
}

// reloadPIN is PIN UNBLOCK (P2 00) and RELOAD PIN (P2 01): secured, after
// EXTERNAL AUTHENTICATE with PUK, under SSSE. Both give all tries back.
func (c *Card) reloadPIN(cmd apdu.Command) ([]byte, apdu.Status) {
	if cmd.P1 != 0 || cmd.P2 > 1 {
		return nil, apdu.StatusWrongP1P2
	}
	session, sw := c.messaging()
	if !sw.OK() {
		return nil, sw
	}
	defer session.Wipe()
	data, err := session.Open(header(cmd), cmd.Data)
	switch {
	case err != nil:
		return nil, apdu.StatusWrongMAC
	case !c.ses.proved["PUK"]:
		return nil, apdu.StatusSecurity
	case cmd.P2 == 0 && len(data) != 0:
		return nil, apdu.StatusWrongLength
	case cmd.P2 == 0:
		return nil, c.store(func(m *memory) { m.pinTries = m.pinLimit })
	}
	pin, err := session.Decrypt(data)
	if err != nil || !validPIN(pin) {
		return nil, apdu.StatusWrongData
	}
	c.ses.pin = false
	return nil, c.store(func(m *memory) { m.pin, m.pinTries = bytes.Clone(pin), m.pinLimit })
}

// getChallenge gives 4, 8 or 16 random bytes, the card's challenge until it is
// used.
func (c *Card) getChallenge(cmd apdu.Command) ([]byte, apdu.Status) {
	if cmd.P1 != 0 || cmd.P2 != 0 {
		return nil, apdu.StatusWrongP1P2
	}
	if len(cmd.Data) > 0 || cmd.Le != 4 && cmd.Le != 8 && cmd.Le != 16 {
		return nil, apdu.StatusWrongLength
	}
	r := make([]byte, cmd.Le)
	if _, err := io.ReadFull(c.random, r); err != nil {
		return nil, apdu.StatusUnspecified
	}
	c.ses.challenge = r
	return bytes.Clone(r), apdu.StatusOK
}

// authData splits process8 + raw8 or auth8 + raw8 with an optional key version
// behind.
func authData(data []byte) (first, raw [8]byte, version byte, ok bool) {
	if len(data) != 16 && len(data) != 17 {
		return first, raw, 0, false
	}
	copy(first[:], data)
	copy(raw[:], data[8:])
	version = 1
	if len(data) == 17 {
		version = data[16]
	}
	return first, raw, version, true
}

// internalAuth proves that the card has IRK: INTERNAL AUTHENTICATE 00 88 00 00.
// It leaves the challenge alone.
func (c *Card) internalAuth(cmd apdu.Command) ([]byte, apdu.Status) {
	if cmd.P1 != 0 || cmd.P2 != 0 {
		return nil, apdu.StatusWrongP1P2
	}
	process, raw, version, ok := authData(cmd.Data)
	if !ok {
		return nil, apdu.StatusWrongLength
	}
	key, ok := c.mem.keys[keyID{"IRK", version}]
	if !ok || c.ses.df != dfSSSE {
		return nil, apdu.StatusKeyNotFound
	}
	answer, err := keys.InternalAnswer(c.mem.algorithm(), key, process, raw)
	if err != nil {
		return nil, apdu.StatusKeyNotFound
	}
	return answer[:], apdu.StatusOK
}

// externalAuth lets the terminal prove a key of the current DF: EXTERNAL
// AUTHENTICATE 00 82 00 key. It ends the challenge whatever comes of it.
func (c *Card) externalAuth(cmd apdu.Command) ([]byte, apdu.Status) {
	challenge := c.ses.challenge
	c.ses.challenge = nil
	if cmd.P1 != 0 {
		return nil, apdu.StatusWrongP1P2
	}
	auth, raw, version, ok := authData(cmd.Data)
	if !ok {
		return nil, apdu.StatusWrongLength
	}
	id, key, ok := c.externalKey(cmd.P2, version)
	if !ok {
		return nil, apdu.StatusKeyNotFound
	}
	tries := c.mem.tries(id)
	switch {
	case tries == 0:
		return nil, apdu.StatusBlocked
	case challenge == nil:
		return nil, apdu.StatusNoChallenge
	}
	delete(c.ses.proved, id.name)
	if sw := c.store(func(m *memory) { m.use(id) }); !sw.OK() {
		return nil, sw
	}
	want, err := keys.ExternalAuth(c.mem.algorithm(), key, challenge, raw)
	if err != nil || !keys.Equal(want[:], auth[:]) {
		return nil, triesLeft(tries - 1)
	}
	sw := c.store(func(m *memory) { m.restore(id) })
	if sw.OK() {
		c.ses.proved[id.name] = true
	}
	return nil, sw
}

// externalKey finds the key of the current DF that has the number.
func (c *Card) externalKey(number, version byte) (keyID, keys.Key, bool) {
	name, ok := keyName(c.ses.df, number)
	if !ok {
		return keyID{}, keys.Key{}, false
	}
	id := keyID{name, version}
	key, ok := c.mem.keys[id]
	return id, key, ok
}

// keyDF returns the DF that a key is in: the last four characters of names
// such as RK1DF04, otherwise SSSE.
func keyDF(name string) string {
	if i := strings.LastIndex(name, "DF"); i > 0 {
		return name[i:]
	}
	return dfSSSE
}

// messaging begins secure messaging: a session of the current DF's STK and the
// challenge, which it uses up.
func (c *Card) messaging() (keys.Session, apdu.Status) {
	challenge := c.ses.challenge
	c.ses.challenge = nil
	if challenge == nil {
		return keys.Session{}, apdu.StatusNoChallenge
	}
	name := "STK"
	if c.ses.df != dfSSSE {
		name += c.ses.df
	}
	key, ok := c.mem.keys[keyID{name, 1}]
	if !ok {
		return keys.Session{}, apdu.StatusKeyNotFound
	}
	s, err := keys.NewSession(c.mem.algorithm(), key, challenge)
	if err != nil {
		return keys.Session{}, apdu.StatusKeyNotFound
	}
	return s, apdu.StatusOK
}

// body returns the data of a command that may be secured (CLA 04): then its
// last four bytes are the MAC.
func (c *Card) body(cmd apdu.Command) ([]byte, apdu.Status) {
	if cmd.CLA&0x04 == 0 {
		return cmd.Data, apdu.StatusOK
	}
	s, sw := c.messaging()
	if !sw.OK() {
		return nil, sw
	}
	defer s.Wipe()
	data, err := s.Open(header(cmd), cmd.Data)
	if err != nil {
		return nil, apdu.StatusWrongMAC
	}
	return data, apdu.StatusOK
}

func header(cmd apdu.Command) keys.Header { return keys.Header{cmd.CLA, cmd.INS, cmd.P1, cmd.P2} }
