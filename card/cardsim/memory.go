package cardsim

import (
	"maps"
	"slices"

	"onecard/apdu"
	"onecard/card/keys"
	"onecard/card/profile"
)

// A phase of life (card specification, section 4). A card never goes back.
type life uint8

const (
	lifeBlank  life = iota // before the end of pre-issue: only made by commands
	lifeIssued             // personalised
	lifeBlocked
)

// A memory is what outlives a loss of power: the EEPROM. It changes in
// [Card.store] only, which hands out a copy: the maps and what they lead to are
// shared with the state before, so a change goes through the methods below.
type memory struct {
	life   life
	dirs   map[string]directory // by node: "SSSE", "DF03", "CERT"
	forms  map[fileID]*form     // never changed once made
	files  map[fileID]*content
	keys   map[keyID]keys.Key
	limits map[keyID]int // tries that a key begins with
	failed map[keyID]int // tries left of keys that have failed

	pin      []byte // as VERIFY carries it; nil: none is set
	pinTries int    // left
	pinLimit int

	account account
	proofs  [2]proof // of the last load and settlement, until the next INIT
	certs   certificates
}

// A directory is a DF on the card.
type directory struct {
	fid     [2]byte
	aid     []byte // empty: selected by FID only
	alg     byte   // tag 86 of the FCI, 0 for none
	parent  string // node above; "MF" for SSSE and the certificates
	blocked bool
}

// A form is what a file is before anybody's data are in it.
type form struct {
	structure   profile.Structure
	fid         [2]byte
	read, write profile.Access
	slots       []place // records of a linear file in their order
	recordSize  int     // of a cyclic file, bytes
	capacity    int     // records of a linear or cyclic file at most
	size        int     // of a transparent file, bytes
	secured     bool    // updates need secure messaging (6988)
}

// A place is what a record has to be: its tag and the length of its value.
type place struct {
	tag    byte
	length int
}

// A content is what is in a file. Linear: record 1 first. Cyclic: newest
// first, as the numbers go. The bytes of a record never change; another record
// takes their place.
type content struct {
	records [][]byte
	data    []byte // transparent
}

func (c *content) clone() *content {
	return &content{records: slices.Clone(c.records), data: slices.Clone(c.data)}
}

// A keyID is a name ("RK1DF04") and a version, 1 to 3.
type keyID struct {
	name    string
	version byte
}

func newMemory() *memory {
	return &memory{
		dirs: make(map[string]directory), forms: make(map[fileID]*form), files: make(map[fileID]*content),
		keys: make(map[keyID]keys.Key), limits: make(map[keyID]int), failed: make(map[keyID]int),
	}
}

func (m *memory) clone() *memory {
	n := *m
	return &n
}

// edit returns the content of a file to be changed.
func (m *memory) edit(id fileID) *content {
	m.files = maps.Clone(m.files)
	m.files[id] = m.files[id].clone()
	return m.files[id]
}

// create adds a file.
func (m *memory) create(id fileID, f *form, c *content) {
	m.files, m.forms = maps.Clone(m.files), maps.Clone(m.forms)
	m.files[id], m.forms[id] = c, f
}

func (m *memory) setDirectory(node string, d directory) {
	m.dirs = maps.Clone(m.dirs)
	m.dirs[node] = d
}

func (m *memory) setKey(id keyID, key keys.Key, limit int) {
	m.keys, m.limits = maps.Clone(m.keys), maps.Clone(m.limits)
	m.keys[id], m.limits[id] = key, limit
	m.restore(id)
}

// use takes one try of a key away.
func (m *memory) use(id keyID) {
	left := m.tries(id) - 1
	m.failed = maps.Clone(m.failed)
	m.failed[id] = left
}

// restore gives a key all its tries back.
func (m *memory) restore(id keyID) {
	m.failed = maps.Clone(m.failed)
	delete(m.failed, id)
}

// tries returns how often a key may fail before it is blocked.
func (m *memory) tries(id keyID) int {
	if left, failed := m.failed[id]; failed {
		return left
	}
	return m.limits[id]
}

// algorithm returns what the card computes with. A card that says nothing
// means DES.
func (m *memory) algorithm() keys.Algorithm {
	if a := m.dirs[dfSSSE].alg; a != 0 {
		return keys.Algorithm(a)
	}
	return keys.DES
}

// store changes the memory. Every change goes through here, and each call is
// one transaction (see [Phase]): it is done or it is not. Anything but
// StatusOK ends the command: the EEPROM could not be written, or the card has
// no power any more and nobody will see the answer.
func (c *Card) store(change func(*memory)) apdu.Status {
	if !c.nvm.begin() {
		return apdu.StatusMemory
	}
	next := c.mem.clone()
	change(next)
	if c.nvm.cut(TearDuring) {
		return apdu.StatusMemory
	}
	if err := c.nvm.save(func() ([]byte, error) { return c.state(next) }); err != nil {
		c.log.WithError(err).Error("the simulated card could not keep a change")
		return apdu.StatusMemory
	}
	if c.nvm.cut(TearCommitted) {
		c.committed = next
		return apdu.StatusMemory
	}
	c.mem = next
	if c.nvm.cut(TearAfter) {
		return apdu.StatusMemory
	}
	return apdu.StatusOK
}

// regain carries out what was committed when the power went.
func (c *Card) regain() {
	if c.committed != nil {
		c.mem, c.committed = c.committed, nil
	}
	c.nvm.dead = false
}

// TearAt tears the card out of the reader at a point of its future: that
// command and all after it get no answer until [Card.PowerOn], which finds the
// old or the new state. A Tear of zero calls it off.
func (c *Card) TearAt(t Tear) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nvm.tear = t
}

// Torn tells whether the card has been torn out and not been powered since.
func (c *Card) Torn() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nvm.dead
}

// Writes returns how often the card has written to its EEPROM since it was
// made. The difference over a flow, given to [Tears], lists its cut points.
func (c *Card) Writes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nvm.writes
}

// Clone returns a card in the same state, session and all, that shares nothing
// with this one but the source of random numbers and the logger. It is cheap:
// a test can tear a copy of one card at each of thousands of points. It has no
// EEPROM file and no tear point.
func (c *Card) Clone() *Card {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := &Card{
		quirks: maps.Clone(c.quirks), random: c.random, log: c.log, chip: c.chip,
		blank: c.blank, contactless: c.contactless,
		mem: c.mem.clone(), committed: c.committed, ses: c.ses,
	}
	d.nvm.writes, d.nvm.dead = c.nvm.writes, c.nvm.dead
	d.ses.proved = maps.Clone(c.ses.proved)
	d.ses.challenge = slices.Clone(c.ses.challenge)
	d.ses.waiting = slices.Clone(c.ses.waiting)
	return d
}

// EEPROM returns all that the card keeps without power, as the file of
// [WithEEPROM] holds it: equal bytes mean equal cards. It holds keys and PIN.
func (c *Card) EEPROM() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.committed != nil {
		return c.state(c.committed)
	}
	return c.state(c.mem)
}
