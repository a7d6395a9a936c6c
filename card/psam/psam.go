// Package psam lets a PSAM in a second slot hold the keys: authentication,
// secured commands and purchases (card specification, section 4, PSAM). A PSAM
// knows root keys, or keys of a province or an area, and derives a card's key
// inside.
//
//	p, err := psam.Open(ctx, session) // a reader.Session to the PSAM's slot
//	if err != nil {
//		return err // errors.Is(err, card.ErrNoPSAM)
//	}
//	kh := card.Holders(p, hsm) // what the PSAM lacks the HSM does
//	order.Terminal = p.Terminal()
//	t, err := c.Purchase(ctx, kh, journal, order)
//
// A PSAM counts its purchases itself: its terminal sequence takes the place of
// the caller's. It checks MAC2 of its last purchase only.
//
// Errors wrap card.ErrNoPSAM (no PSAM in the slot, or it left),
// card.ErrPSAMLacksKey (no such algorithm, key or level: callers fall back to
// the HSM), card.ErrPSAMRefused (anything else it answers), or the context's.
package psam

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"onecard/apdu"
	"onecard/card"
	"onecard/card/keys"
)

// A Profile is what PSAMs differ in.
type Profile struct {
	// Names are the environments by algorithm, for SELECT by name.
	Names map[keys.Algorithm][]byte
	// Keys is the directory of keys in an environment.
	Keys []byte
	// TerminalFile is the short identifier of the terminal number.
	TerminalFile byte
	// KeyID returns the identifier of a key, P2 of the preparing command.
	KeyID func(name string, version byte) (byte, bool)
	// Levels is how many levels of diversification the PSAM does itself: 3 it
	// holds root keys, 2 keys of a province, 1 keys of an area; 0: find out.
	Levels int
}

// Reference returns the reference profile: sx1.sh for DES, sx3.sh for SM4, and
// keys numbered by their place in the reference key table.
func Reference() Profile {
	gbk := "\xC9\xE7\xBB\xE1\xB1\xA3\xD5\xCF" // 社会保障
	return Profile{
		Names:        map[keys.Algorithm][]byte{keys.DES: []byte("sx1.sh." + gbk), keys.SM4: []byte("sx3.sh." + gbk)},
		Keys:         []byte{0xD1, 0x56, 0x00, 0x00, 0x05, 0x90},
		TerminalFile: 0x16,
		KeyID:        referenceID,
	}
}

func referenceID(name string, version byte) (byte, bool) {
	n := byte(0)
	for e := range keys.Reference().All() {
		n++
		if e.Name == name {
			return n + 0x40*(version-1), version >= 1 && version <= keys.Versions
		}
	}
	return 0, false
}

// A PSAM is an open PSAM. Safe for concurrent use: one call after the other.
type PSAM struct {
	conn     card.Conn
	profile  Profile
	terminal string
	turn     chan struct{} // one token: whose turn it is

	// In the hands of whoever has the turn.
	algorithm keys.Algorithm // of the selected environment, 0 unknown
	levels    int            // found out, 0 not yet
	last      keys.Purchase  // whose MAC2 can be checked
	open      bool
}

// An Option changes how a PSAM is opened.
type Option func(*PSAM)

// WithProfile replaces the reference profile.
func WithProfile(p Profile) Option { return func(x *PSAM) { x.profile = p } }

// Open reads the terminal number. A card that is no PSAM gives
// card.ErrNoPSAM.
func Open(ctx context.Context, conn card.Conn, opts ...Option) (*PSAM, error) {
	p := &PSAM{conn: conn, profile: Reference(), turn: make(chan struct{}, 1)}
	for _, o := range opts {
		o(p)
	}
	p.levels = p.profile.Levels
	r, err := p.exchange(ctx, apdu.Command{INS: 0xB0, P1: 0x80 | p.profile.TerminalFile, Le: 6})
	if err != nil {
		return nil, fmt.Errorf("open PSAM: %w", err)
	}
	if !r.Status.OK() || len(r.Data) != 6 {
		return nil, fmt.Errorf("open PSAM: %w: no terminal number (%s)", card.ErrNoPSAM, r.Status)
	}
	p.terminal = hex.EncodeToString(r.Data)
	for _, d := range p.terminal {
		if d < '0' || d > '9' {
			return nil, fmt.Errorf("open PSAM: %w: the terminal number is malformed", card.ErrNoPSAM)
		}
	}
	return p, nil
}

// Terminal returns the terminal number: 12 digits.
func (p *PSAM) Terminal() string { return p.terminal }

// acquire takes the turn.
func (p *PSAM) acquire(ctx context.Context) error {
	select {
	case p.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *PSAM) release() { <-p.turn }

// exchange sends a command. After an error nothing is selected any more.
func (p *PSAM) exchange(ctx context.Context, cmd apdu.Command) (apdu.Response, error) {
	r, err := p.conn.Exchange(ctx, cmd)
	if err != nil {
		p.algorithm, p.open = 0, false
		if ctx.Err() != nil {
			return r, err
		}
		return r, fmt.Errorf("%w: %w", card.ErrNoPSAM, err)
	}
	return r, nil
}

// command sends a command that must succeed and answer size bytes.
func (p *PSAM) command(ctx context.Context, name string, cmd apdu.Command, size int) ([]byte, error) {
	cmd.Le = size
	r, err := p.exchange(ctx, cmd)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	case r.Status == apdu.StatusKeyNotFound:
		return nil, fmt.Errorf("%s: %w", name, card.ErrPSAMLacksKey)
	case r.Status == apdu.StatusTransactionMAC:
		return nil, fmt.Errorf("%s: %w", name, keys.ErrMAC)
	case !r.Status.OK():
		return nil, fmt.Errorf("%w: %w", card.ErrPSAMRefused, &card.RefusedError{Command: name, Status: r.Status})
	case len(r.Data) != size:
		return nil, fmt.Errorf("%s: %w: %d bytes, not %d", name, card.ErrPSAMRefused, len(r.Data), size)
	}
	return r.Data, nil
}

// environment selects the keys of an algorithm.
func (p *PSAM) environment(ctx context.Context, a keys.Algorithm) error {
	if p.algorithm == a {
		return nil
	}
	name, ok := p.profile.Names[a]
	if !ok {
		return fmt.Errorf("%w: %s", card.ErrPSAMLacksKey, a)
	}
	p.algorithm, p.open = 0, false
	for _, aid := range [][]byte{name, p.profile.Keys} {
		r, err := p.exchange(ctx, apdu.Command{INS: 0xA4, P1: 0x04, Data: aid, Le: apdu.MaxShortLe})
		if err != nil {
			return err
		}
		switch r.Status {
		case apdu.StatusOK:
		case apdu.StatusNotFound:
			return fmt.Errorf("%w: %s", card.ErrPSAMLacksKey, a)
		default:
			return fmt.Errorf("%w: %w", card.ErrPSAMRefused, &card.RefusedError{Command: "SELECT", Status: r.Status})
		}
	}
	p.algorithm = a
	return nil
}

// factors are the diversification factors that the PSAM wants, the card's
// first.
func factors(s keys.Subject, levels int) []byte {
	f := s.Factors()
	var b []byte
	for i := range levels {
		b = append(b, f[2-i][:]...)
	}
	return b
}

// eachLevel runs do with the PSAM's number of levels, or finds it out.
func (p *PSAM) eachLevel(do func(levels int) error) error {
	if p.levels != 0 {
		return do(p.levels)
	}
	var err error
	for levels := 3; levels >= 1; levels-- {
		if err = do(levels); err == nil {
			p.levels = levels
			return nil
		}
		if !lacks(err) {
			return err
		}
	}
	return err
}

// prepare makes the session key of a card's key and a random.
func (p *PSAM) prepare(ctx context.Context, s keys.Subject, name string, random []byte) error {
	if err := s.Check(); err != nil {
		return err
	}
	switch len(random) {
	case 4, 8, 16:
	default:
		return fmt.Errorf("%w: random of %d bytes", keys.ErrSubject, len(random))
	}
	id, ok := p.profile.KeyID(name, s.KeyVersion())
	if !ok {
		return fmt.Errorf("%w: %w", card.ErrPSAMLacksKey, keys.ErrKeyUnknown)
	}
	if err := p.environment(ctx, s.Algorithm); err != nil {
		return err
	}
	const compute = 8 // purpose: MAC and encryption
	return p.eachLevel(func(levels int) error {
		data := append(factors(s, levels), random...)
		_, err := p.command(ctx, "prepare key", apdu.Command{CLA: 0xBF, INS: 0xDE, P1: byte(levels<<5 | compute), P2: id, Data: data}, 0)
		return err
	})
}

// authenticate computes the eight bytes for raw with the prepared key.
func (p *PSAM) authenticate(ctx context.Context, s keys.Subject, name string, random []byte, raw [8]byte) (answer [8]byte, err error) {
	if err := p.acquire(ctx); err != nil {
		return answer, err
	}
	defer p.release()
	if err := p.prepare(ctx, s, name, random); err != nil {
		return answer, err
	}
	in := raw[:]
	if s.Algorithm == keys.SM4 {
		in = append(in, make([]byte, 8)...)
	}
	out, err := p.command(ctx, "encrypt", apdu.Command{CLA: 0x80, INS: 0xFA, Data: in}, len(in))
	if err != nil {
		return answer, err
	}
	copy(answer[:], out)
	if s.Algorithm == keys.SM4 {
		for i := range answer {
			answer[i] ^= out[8+i]
		}
	}
	return answer, nil
}

// InternalAuth implements card.KeyHolder.
func (p *PSAM) InternalAuth(ctx context.Context, s keys.Subject, process, raw [8]byte) ([8]byte, error) {
	answer, err := p.authenticate(ctx, s, "IRK", process[:], raw)
	if err != nil {
		return answer, fmt.Errorf("PSAM: internal authentication: %w", err)
	}
	return answer, nil
}

// ExternalAuth implements card.KeyHolder.
func (p *PSAM) ExternalAuth(ctx context.Context, s keys.Subject, key string, challenge []byte, raw [8]byte) ([8]byte, error) {
	// One key for each use: what authenticates never secures commands.
	if e, ok := keys.Reference().Lookup(key); ok && e.Use != keys.UseExternal {
		return [8]byte{}, fmt.Errorf("PSAM: external authentication: %w: %s is for another use", keys.ErrSubject, key)
	}
	auth, err := p.authenticate(ctx, s, key, challenge, raw)
	if err != nil {
		return auth, fmt.Errorf("PSAM: external authentication with %s: %w", key, err)
	}
	return auth, nil
}

// mac makes a whole command with the prepared key: data is what stands before
// the MAC.
func (p *PSAM) mac(ctx context.Context, a keys.Algorithm, h keys.Header, data []byte) ([]byte, error) {
	lc := len(data) + keys.MACSize
	block := blockSize(a)
	if block+5+len(data) > 255 {
		return nil, fmt.Errorf("%w: %d bytes", keys.ErrTooLong, len(data))
	}
	whole := append(append(h[:], byte(lc)), data...)
	// The first block is the initial value: zeros.
	mac, err := p.command(ctx, "MAC", apdu.Command{CLA: 0x80, INS: 0xFA, P1: 0x05, Data: append(make([]byte, block), whole...)}, keys.MACSize)
	if err != nil {
		return nil, err
	}
	return append(whole, mac...), nil
}

func blockSize(a keys.Algorithm) int {
	if a == keys.DES {
		return 8
	}
	return 16
}

// SecureCommand implements card.SecureHolder.
func (p *PSAM) SecureCommand(ctx context.Context, s keys.Subject, key string, challenge []byte, h keys.Header, data []byte) ([]byte, error) {
	return p.secured(ctx, s, key, challenge, "secure command", func() ([]byte, error) { return p.mac(ctx, s.Algorithm, h, data) })
}

// UnblockPIN implements card.SecureHolder.
func (p *PSAM) UnblockPIN(ctx context.Context, s keys.Subject, challenge []byte) ([]byte, error) {
	return p.secured(ctx, s, "STK", challenge, "unblock PIN", func() ([]byte, error) { return p.mac(ctx, s.Algorithm, keys.UnblockPINHeader, nil) })
}

// ReloadPIN implements card.SecureHolder.
func (p *PSAM) ReloadPIN(ctx context.Context, s keys.Subject, challenge, pin []byte) ([]byte, error) {
	return p.secured(ctx, s, "STK", challenge, "reload PIN", func() ([]byte, error) {
		if len(pin) < 2 || len(pin) > 8 {
			return nil, fmt.Errorf("%w: PIN of %d bytes", keys.ErrSubject, len(pin))
		}
		n := blockSize(s.Algorithm)
		plain := make([]byte, (1+len(pin)+n-1)/n*n)
		defer clear(plain)
		plain[0] = byte(len(pin))
		copy(plain[1:], pin)
		if 1+len(pin) < len(plain) {
			plain[1+len(pin)] = 0x80
		}
		encrypted, err := p.command(ctx, "encrypt", apdu.Command{CLA: 0x80, INS: 0xFA, Data: plain}, len(plain))
		if err != nil {
			return nil, err
		}
		return p.mac(ctx, s.Algorithm, keys.ReloadPINHeader, encrypted)
	})
}

func (p *PSAM) secured(ctx context.Context, s keys.Subject, key string, challenge []byte, what string, do func() ([]byte, error)) ([]byte, error) {
	if err := p.acquire(ctx); err != nil {
		return nil, err
	}
	defer p.release()
	err := p.prepare(ctx, s, key, challenge)
	var b []byte
	if err == nil {
		b, err = do()
	}
	if err != nil {
		return nil, fmt.Errorf("PSAM: %s: %w", what, err)
	}
	return b, nil
}

// PurchaseMAC1 implements card.DebitHolder. It puts the PSAM's terminal sequence
// into the purchase; the terminal number must be the PSAM's own, over which it
// computes.
func (p *PSAM) PurchaseMAC1(ctx context.Context, s keys.Subject, purchase *keys.Purchase) (mac1 [keys.MACSize]byte, err error) {
	if err := p.acquire(ctx); err != nil {
		return mac1, err
	}
	defer p.release()
	p.open = false
	if hex.EncodeToString(purchase.Terminal[:]) != p.terminal {
		return mac1, fmt.Errorf("PSAM: purchase: %w: the terminal number is not the PSAM's", card.ErrValue)
	}
	if err = s.Check(); err == nil {
		err = p.environment(ctx, s.Algorithm)
	}
	if err != nil {
		return mac1, fmt.Errorf("PSAM: purchase: %w", err)
	}
	head := append([]byte(nil), purchase.Random[:]...)
	head = binary.BigEndian.AppendUint16(head, purchase.Sequence)
	for _, amount := range []uint32{purchase.Account, purchase.Self, purchase.Pooling} {
		head = binary.BigEndian.AppendUint32(head, amount)
	}
	head = append(append(head, keys.TypeSettlement), purchase.Time[:]...)
	head = append(head, s.KeyVersion(), byte(s.Algorithm))
	var out []byte
	err = p.eachLevel(func(levels int) (err error) {
		data := append(append([]byte(nil), head...), factors(s, levels)...)
		out, err = p.command(ctx, "INIT SAM FOR PURCHASE", apdu.Command{CLA: 0x80, INS: 0x70, Data: data}, 8)
		return err
	})
	if err != nil {
		return mac1, fmt.Errorf("PSAM: purchase: %w", err)
	}
	purchase.TerminalSequence = binary.BigEndian.Uint32(out)
	p.last, p.open = *purchase, true
	return [keys.MACSize]byte(out[4:]), nil
}

// CheckMAC2 implements card.DebitHolder, for the purchase of the last
// PurchaseMAC1 alone; for others the error wraps card.ErrHolderUnable.
func (p *PSAM) CheckMAC2(ctx context.Context, s keys.Subject, purchase keys.Purchase, mac2 [keys.MACSize]byte) error {
	if err := p.acquire(ctx); err != nil {
		return err
	}
	defer p.release()
	if !p.open || purchase != p.last || p.algorithm != s.Algorithm {
		return fmt.Errorf("PSAM: check MAC2: %w: not its last purchase", card.ErrHolderUnable)
	}
	p.open = false // right or wrong, the PSAM is done with it
	if _, err := p.command(ctx, "CREDIT SAM FOR PURCHASE", apdu.Command{CLA: 0x80, INS: 0x72, Data: mac2[:]}, 0); err != nil {
		return fmt.Errorf("PSAM: check MAC2: %w", err)
	}
	return nil
}

// lacks reports whether a PSAM with another number of levels might have the
// key.
func lacks(err error) bool {
	var answer *card.RefusedError
	if errors.As(err, &answer) {
		// Some want another Lc for another number of factors.
		return answer.Status == apdu.StatusWrongLength
	}
	return errors.Is(err, card.ErrPSAMLacksKey)
}
