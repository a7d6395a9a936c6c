package keys

import (
	"cmp"
	"fmt"
	"slices"
)

// A Ring holds root keys by name and version. It prints as stars. Safe for
// concurrent reading once it is filled.
type Ring struct {
	table *Table
	roots map[rootID]Key
	test  bool
}

type rootID struct {
	name    string
	version byte
}

// NewRing returns an empty ring for the keys of a table.
func NewRing(t *Table) *Ring { return &Ring{table: t, roots: make(map[rootID]Key)} }

// TestRing returns a ring that holds [TestRoot] for every key and version of
// the table. Its [Ring.Test] is true.
func TestRing(t *Table) *Ring {
	r := NewRing(t)
	r.test = true
	for e := range t.All() {
		for v := byte(1); v <= Versions; v++ {
			r.roots[rootID{e.Name, v}] = TestRoot(e.Name, v)
		}
	}
	return r
}

// Test says that these are the test keys, which everybody knows.
func (r *Ring) Test() bool { return r.test }

// Table returns the names that the ring can hold keys for.
func (r *Ring) Table() *Table { return r.table }

// Add puts a root key in, in the place of one that was there. The error wraps
// [ErrKeyUnknown] where the table has no such name, or [ErrSubject] for a
// version other than 1 to 3.
func (r *Ring) Add(name string, version byte, root Key) error {
	if _, ok := r.table.Lookup(name); !ok {
		return fmt.Errorf("add root key: %w", ErrKeyUnknown)
	}
	if version < 1 || version > Versions {
		return fmt.Errorf("add root key %s: %w: version %d", name, ErrSubject, version)
	}
	r.roots[rootID{name, version}] = root
	return nil
}

// Root returns a root key. The error wraps [ErrKeyUnknown].
func (r *Ring) Root(name string, version byte) (Key, error) {
	root, ok := r.roots[rootID{name, version}]
	if !ok {
		return Key{}, fmt.Errorf("root key of version %d: %w", version, ErrKeyUnknown)
	}
	return root, nil
}

// CardKey returns the card key of that name: [Ring.Root] of the subject's key
// version and [Subject.CardKey] in one.
func (r *Ring) CardKey(s Subject, name string) (Key, error) {
	if err := s.Check(); err != nil {
		return Key{}, fmt.Errorf("card key: %w", err)
	}
	root, err := r.Root(name, s.KeyVersion())
	if err != nil {
		return Key{}, fmt.Errorf("card key: %w", err)
	}
	defer root.Wipe()
	return s.CardKey(root)
}

// A Held names a key that a ring holds and its versions in ascending order.
type Held struct {
	Name     string `json:"name"`
	Versions []int  `json:"versions"`
}

// Held lists what the ring holds, by name.
func (r *Ring) Held() []Held {
	versions := make(map[string][]int)
	for id := range r.roots {
		versions[id.name] = append(versions[id.name], int(id.version))
	}
	held := make([]Held, 0, len(versions))
	for name, v := range versions {
		slices.Sort(v)
		held = append(held, Held{name, v})
	}
	slices.SortFunc(held, func(a, b Held) int { return cmp.Compare(a.Name, b.Name) })
	return held
}

// Format prints stars, whatever the verb.
func (r *Ring) Format(f fmt.State, _ rune) { printStars(f) }

// Wipe overwrites and drops every root key.
func (r *Ring) Wipe() {
	for id := range r.roots {
		r.roots[id] = Key{}
	}
	clear(r.roots)
}
