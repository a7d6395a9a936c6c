package terminal

import "sync"

// publisher tells subscribers that there is something new, never what: they
// read the state themselves, so that a slow one sees the newest and misses
// only what is out of date.
type publisher struct {
	mu   sync.Mutex
	seq  uint64
	subs map[chan struct{}]struct{}
}

func newPublisher() *publisher { return &publisher{subs: make(map[chan struct{}]struct{})} }

// changed wakes every subscriber. It never blocks.
func (p *publisher) changed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seq++
	for c := range p.subs {
		select {
		case c <- struct{}{}:
		default: // already woken
		}
	}
}

func (p *publisher) sequence() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seq
}

// subscribe returns a channel that holds a token while there is something new
// and the function that ends the subscription.
func (p *publisher) subscribe() (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	c <- struct{}{}
	p.mu.Lock()
	p.subs[c] = struct{}{}
	p.mu.Unlock()
	return c, func() {
		p.mu.Lock()
		delete(p.subs, c)
		p.mu.Unlock()
	}
}
