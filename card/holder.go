package card

import (
	"context"

	"onecard/card/keys"
	"onecard/fault"
)

// A SecureHolder is a KeyHolder that also secures commands. Ask for it by type
// assertion: not every key holder is one.
type SecureHolder interface {
	// SecureCommand returns the whole command: header, Lc, data, MAC by
	// secure messaging with the named key (STK, STKDF03) and the card's last
	// challenge. The data, at most 251 bytes, are sent in clear.
	SecureCommand(ctx context.Context, s keys.Subject, key string, challenge []byte, h keys.Header, data []byte) ([]byte, error)

	// UnblockPIN returns the whole command PIN UNBLOCK, with key STK.
	UnblockPIN(ctx context.Context, s keys.Subject, challenge []byte) ([]byte, error)

	// ReloadPIN returns the whole command RELOAD PIN, which sets a new PIN
	// (BCD, an odd last nibble F, 2 to 8 bytes), with key STK.
	ReloadPIN(ctx context.Context, s keys.Subject, challenge []byte, pin []byte) ([]byte, error)
}

// A DebitHolder is a KeyHolder that also computes purchases with DPK. The
// subject's version is the key version that the card named.
type DebitHolder interface {
	// PurchaseMAC1 returns the MAC that lets the card debit. A holder that
	// counts its transactions itself, as a PSAM does, puts its own terminal
	// sequence into p; others use the one that is there.
	PurchaseMAC1(ctx context.Context, s keys.Subject, p *keys.Purchase) (mac1 [keys.MACSize]byte, err error)

	// CheckMAC2 returns nil when mac2 is the card's proof that it has debited p,
	// an error wrapping keys.ErrMAC when it is not, any other where it could
	// not be checked.
	CheckMAC2(ctx context.Context, s keys.Subject, p keys.Purchase, mac2 [keys.MACSize]byte) error
}

// A LoadHolder is a KeyHolder that also computes loads with DLK. Only an
// issuer's HSM is one.
type LoadHolder interface {
	// LoadMAC2 returns the order to credit l once the card's mac1 is right; it
	// wraps keys.ErrMAC where it is not.
	LoadMAC2(ctx context.Context, s keys.Subject, l keys.Load, mac1 [keys.MACSize]byte) (mac2 [keys.MACSize]byte, err error)
}

// A TACChecker is an insurer's HSM, which has DTK and can check what the card
// signed. Terminals keep TACs; they cannot check them.
type TACChecker interface {
	// CheckPurchaseTAC wraps keys.ErrMAC where the TAC is wrong.
	CheckPurchaseTAC(ctx context.Context, s keys.Subject, p keys.Purchase, tac [keys.MACSize]byte) error
	// CheckLoadTAC wraps keys.ErrMAC where the TAC is wrong.
	CheckLoadTAC(ctx context.Context, s keys.Subject, l keys.Load, tac [keys.MACSize]byte) error
}

// holderAs returns kh as one of the interfaces above.
func holderAs[T any](kh KeyHolder) (T, error) {
	var none T
	if kh == nil {
		return none, ErrNoKeyHolder
	}
	if h, ok := kh.(T); ok {
		return h, nil
	}
	return none, ErrHolderUnable
}

// Holders tries the first key holder and, where that one lacks something, the
// next, as client programs fall back from a PSAM to the HSM: no PSAM (-2201),
// no such algorithm (-2202), no RKSSSE (-2203), key level too low (-24), key
// not found (-27272). Nil holders are left out. Any other failure is final: a
// second answer to the same challenge would not be right either.
//
// What it returns implements SecureHolder, DebitHolder, LoadHolder and
// TACChecker; holders that do not are passed over.
func Holders(list ...KeyHolder) KeyHolder {
	var c chain
	for _, kh := range list {
		if kh != nil {
			c = append(c, kh)
		}
	}
	switch len(c) {
	case 0:
		return nil
	case 1:
		return c[0]
	}
	return c
}

type chain []KeyHolder

// elsewhere reports whether the next holder may do what this one did not.
func elsewhere(err error) bool {
	switch fault.Of(err).Code {
	case fault.NoPSAM, fault.PSAMLacksKey, fault.HolderUnable, fault.NoKeyHolder:
		return true
	}
	return false
}

// try calls do for the holders that are a T, until one does not lack what it
// needs.
func try[T any](c chain, do func(T) error) error {
	var why error = ErrHolderUnable
	for _, kh := range c {
		h, ok := kh.(T)
		if !ok {
			continue
		}
		err := do(h)
		if err == nil || !elsewhere(err) {
			return err
		}
		why = err
	}
	return why
}

func (c chain) InternalAuth(ctx context.Context, s keys.Subject, process, raw [8]byte) (answer [8]byte, err error) {
	err = try(c, func(h KeyHolder) (err error) {
		answer, err = h.InternalAuth(ctx, s, process, raw)
		return err
	})
	return answer, err
}

func (c chain) ExternalAuth(ctx context.Context, s keys.Subject, key string, challenge []byte, raw [8]byte) (auth [8]byte, err error) {
	err = try(c, func(h KeyHolder) (err error) {
		auth, err = h.ExternalAuth(ctx, s, key, challenge, raw)
		return err
	})
	return auth, err
}

func (c chain) SecureCommand(ctx context.Context, s keys.Subject, key string, challenge []byte, hd keys.Header, data []byte) (command []byte, err error) {
	err = try(c, func(h SecureHolder) (err error) {
		command, err = h.SecureCommand(ctx, s, key, challenge, hd, data)
		return err
	})
	return command, err
}

func (c chain) UnblockPIN(ctx context.Context, s keys.Subject, challenge []byte) (command []byte, err error) {
	err = try(c, func(h SecureHolder) (err error) {
		command, err = h.UnblockPIN(ctx, s, challenge)
		return err
	})
	return command, err
}

func (c chain) ReloadPIN(ctx context.Context, s keys.Subject, challenge, pin []byte) (command []byte, err error) {
	err = try(c, func(h SecureHolder) (err error) {
		command, err = h.ReloadPIN(ctx, s, challenge, pin)
		return err
	})
	return command, err
}

func (c chain) PurchaseMAC1(ctx context.Context, s keys.Subject, p *keys.Purchase) (mac1 [keys.MACSize]byte, err error) {
	err = try(c, func(h DebitHolder) (err error) {
		mac1, err = h.PurchaseMAC1(ctx, s, p)
		return err
	})
	return mac1, err
}

func (c chain) CheckMAC2(ctx context.Context, s keys.Subject, p keys.Purchase, mac2 [keys.MACSize]byte) error {
	return try(c, func(h DebitHolder) error { return h.CheckMAC2(ctx, s, p, mac2) })
}

func (c chain) LoadMAC2(ctx context.Context, s keys.Subject, l keys.Load, mac1 [keys.MACSize]byte) (mac2 [keys.MACSize]byte, err error) {
	err = try(c, func(h LoadHolder) (err error) {
		mac2, err = h.LoadMAC2(ctx, s, l, mac1)
		return err
	})
	return mac2, err
}

func (c chain) CheckPurchaseTAC(ctx context.Context, s keys.Subject, p keys.Purchase, tac [keys.MACSize]byte) error {
	return try(c, func(h TACChecker) error { return h.CheckPurchaseTAC(ctx, s, p, tac) })
}

func (c chain) CheckLoadTAC(ctx context.Context, s keys.Subject, l keys.Load, tac [keys.MACSize]byte) error {
	return try(c, func(h TACChecker) error { return h.CheckLoadTAC(ctx, s, l, tac) })
}
