package card_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"onecard/apdu"
	"onecard/card"
	"onecard/card/cardsim"
	"onecard/card/keys"
	"onecard/fault"
	hsmsim "onecard/hsm-sim"
	"onecard/hsm-sim/hsm"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// slow is a key holder whose calls last until they are released or cancelled.
type slow struct {
	holder
	internalStarted, externalStarted, release chan struct{}
}

func newSlow() *slow {
	return &slow{internalStarted: make(chan struct{}), externalStarted: make(chan struct{}), release: make(chan struct{})}
}

func (s *slow) wait(ctx context.Context) error {
	select {
	case <-s.release:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *slow) InternalAuth(ctx context.Context, subject keys.Subject, process, raw [8]byte) ([8]byte, error) {
	close(s.internalStarted)
	if err := s.wait(ctx); err != nil {
		return [8]byte{}, err
	}
	return s.holder.InternalAuth(ctx, subject, process, raw)
}

func (s *slow) ExternalAuth(ctx context.Context, subject keys.Subject, name string, challenge []byte, raw [8]byte) ([8]byte, error) {
	close(s.externalStarted)
	if err := s.wait(ctx); err != nil {
		return [8]byte{}, err
	}
	return s.holder.ExternalAuth(ctx, subject, name, challenge, raw)
}

// hooked calls before on every command.
type hooked struct {
	*simConn
	before func(c apdu.Command) error
}

func (h *hooked) Exchange(ctx context.Context, c apdu.Command) (apdu.Response, error) {
	if err := h.before(c); err != nil {
		return apdu.Response{}, err
	}
	return h.simConn.Exchange(ctx, c)
}

// Both computations of the key holder are under way before the first has
// ended: the card and the HSM do not wait for each other.
func TestKeyHolderWorksWhileTheCardDoes(t *testing.T) {
	kh := newSlow()
	h := &hooked{simConn: example(t, "3.0"), before: func(apdu.Command) error { return nil }}
	c := open(t, h)
	go func() {
		// The challenge was fetched and handed over though the internal
		// answer is still missing.
		<-kh.internalStarted
		<-kh.externalStarted
		close(kh.release)
	}()
	id, err := c.Identity(t.Context(), kh)
	if err != nil || !id.Authenticated || id.Holder.Name == "" {
		t.Errorf("%+v, %v", id, err)
	}
	if got := h.commands(); got != "A4 B2 88 84 82 B2" {
		t.Errorf("commands %s", got)
	}

	// Before 3.0 the holder is read while the HSM computes.
	kh = newSlow()
	h = &hooked{simConn: example(t, "2.0")}
	h.before = func(c apdu.Command) error {
		if c.INS == 0xB2 && c.P2>>3 == 6 {
			<-kh.internalStarted
			close(kh.release)
		}
		return nil
	}
	id, err = open(t, h).Identity(t.Context(), kh)
	if err != nil || !id.Authenticated || id.Holder.Name == "" {
		t.Errorf("%+v, %v", id, err)
	}
}

// A card that is torn out ends the key holder's calls, and Identity returns
// after them (goleak watches).
func TestCardTornOutDuringAuthentication(t *testing.T) {
	gone := fault.New(fault.CardRemoved, "removed")
	for _, ins := range []byte{0x88, 0x84} {
		h := &hooked{simConn: example(t, "3.0"), before: func(c apdu.Command) error {
			if c.INS == ins {
				return gone
			}
			return nil
		}}
		c := open(t, h)
		if _, err := c.Identity(t.Context(), newSlow()); !errors.Is(err, gone) || fault.Of(err).Code != fault.CardRemoved {
			t.Errorf("%02X: %v", ins, err)
		}
	}
}

func TestIdentityIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	kh := newSlow()
	c := open(t, example(t, "3.0"))
	go func() {
		<-kh.externalStarted
		cancel()
	}()
	if _, err := c.Identity(ctx, kh); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestNoKeyIsUsedOnACardThatIsNotGenuine(t *testing.T) {
	s := example(t, "2.0", cardsim.WithQuirks(cardsim.QuirkNotGenuine))
	c := open(t, s)
	if _, err := c.Identity(t.Context(), &holder{}); err != nil {
		t.Fatal(err)
	}
	s.commands()
	_, err := c.ReadFile(t.Context(), card.FileID{DF: "DF03", EF: "EF07"}, &holder{})
	if err == nil || strings.Contains(s.commands(), "82") {
		t.Errorf("%v", err)
	}
	// The PIN opens the file all the same; settling is for the caller to refuse.
	if err := c.VerifyPIN(t.Context(), card.PIN("123456")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Pension(t.Context(), &holder{}); err != nil {
		t.Error(err)
	}
}

func TestKeyVersions(t *testing.T) {
	for _, v := range []byte{0, 1, 2, 3} {
		c := open(t, example(t, "3.0"), card.WithKeyVersion(v))
		id, err := c.Identity(t.Context(), &holder{})
		if err != nil || !id.Authenticated || id.HolderError != nil {
			t.Errorf("version %d: %v, %v, %v", v, id.AuthError, id.HolderError, err)
		}
	}
	c := open(t, example(t, "3.0"), card.WithKeyVersion(9))
	if id, err := c.Identity(t.Context(), &holder{}); err != nil || id.Authenticated || id.AuthError == nil {
		t.Errorf("version 9: %v, %v", id.Authenticated, err)
	}
}

// The whole address of a long name: 09 holds 30 bytes and a cut character, 4E
// the rest. Both views agree.
func TestLongName(t *testing.T) {
	const name = "M阿卜杜热合曼·麦麦提吐尔逊·艾力"
	a, b, err := card.SplitName(name)
	if err != nil {
		t.Fatal(err)
	}
	s := changed(t, "2.0", func(m map[string]any) {
		ef06 := m["files"].(map[string]any)["SSSEEF06"].(map[string]any)
		ef06["09"], ef06["4E"] = "hex:"+hexOf(a), "hex:"+hexOf(b)
		ef06["0D"] = "hex:20261341"
	})
	c := open(t, s)
	id, err := c.Identity(t.Context(), nil)
	if err != nil || id.Holder.Name != name {
		t.Errorf("%q, %v", id.Holder.Name, err)
	}
	if len(id.Problems) != 1 || !errors.Is(id.Problems[0], card.ErrMalformed) || !id.Holder.BirthDate.IsZero() || id.Holder.Sex == "" {
		t.Errorf("%v", id.Problems)
	}
	f, err := c.ReadFile(t.Context(), card.FileID{DF: "SSSE", EF: "EF06"}, nil)
	if err != nil || len(f.Problems()) != 1 {
		t.Errorf("%v, %v", f.Problems(), err)
	}
	if r, ok := f.Find("09"); !ok || r.Value.String() != name {
		t.Errorf("%q", r.Value)
	}
}

func hexOf(b []byte) string {
	const digits = "0123456789ABCDEF"
	var s strings.Builder
	for _, x := range b {
		s.WriteByte(digits[x>>4])
		s.WriteByte(digits[x&15])
	}
	return s.String()
}

// With the HSM of the house over TCP in place of the holder of these tests.
func TestIdentityThroughHSM(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- hsmsim.Serve(ctx, ln, hsmsim.WithKeys(keys.TestRing(keys.Reference())))
	}()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	client := hsm.New([]string{ln.Addr().String()})
	defer client.Close()
	for _, image := range []string{"1.0", "2.0", "3.0"} {
		c := open(t, example(t, image))
		id, err := c.Identity(t.Context(), client)
		if err != nil || !id.Authenticated || id.HolderError != nil || id.Holder.Name == "" {
			t.Errorf("%s: %v, %v, %v", image, id.AuthError, id.HolderError, err)
		}
		if _, err := c.ReadFile(t.Context(), card.FileID{DF: "DF04", EF: "EF05"}, client); err != nil {
			t.Errorf("%s: %v", image, err)
		}
	}
}
