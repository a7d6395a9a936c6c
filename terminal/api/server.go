// Package api is the daemon's interface for pages and programs: HTTP and a
// WebSocket on a loopback address, and the same calls on a Unix socket in the
// state directory.
//
// The state is published and commands are calls of their own: a page shows what
// GET /v1/state or the events say and may be reloaded at any moment. Every call
// is in [Routes]; /openapi.json is made from that list.
//
// Over TCP a foreign Host or Origin is refused before anything else, and every
// caller but the service's own page sends the token of the state directory.
// The Unix socket is for whoever may open it (mode 0600); it alone takes a PIN.
package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/sirupsen/logrus"

	"onecard/terminal"
	"onecard/terminal/web"
)

// Options are what a server needs beside the service.
type Options struct {
	Listen string // the loopback address, as a browser types it
	Token  string // of the state directory
	Log    *logrus.Logger
	// Grace is how long calls that are under way may take to end when the
	// service is told to: longer than a settlement waits for its answer, or a
	// restart would leave it in doubt. 0 is 30 s.
	Grace time.Duration
}

// A Server answers the calls of [Routes].
type Server struct {
	desk    *terminal.Service
	guard   *guard
	pages   fs.FS
	log     *logrus.Logger
	metrics *metrics
	streams chan struct{}
	closing chan struct{}
	once    sync.Once
	grace   time.Duration
}

// New prepares a server; [Server.Serve] runs it.
func New(desk *terminal.Service, o Options) *Server {
	if o.Grace <= 0 {
		o.Grace = 30 * time.Second
	}
	return &Server{
		desk: desk, grace: o.Grace, guard: newGuard(o.Listen, o.Token), pages: web.Files(), log: o.Log,
		metrics: newMetrics(desk),
		streams: make(chan struct{}, maxStreams), closing: make(chan struct{}),
	}
}

// origin says over which door a request came.
type origin int

const (
	overTCP origin = iota
	overSocket
)

type doorKey struct{}

func doorOf(r *http.Request) origin {
	d, _ := r.Context().Value(doorKey{}).(origin)
	return d
}

// TCP returns the handler for the loopback listener.
func (s *Server) TCP() http.Handler {
	routes := s.mux()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.guard.site(r); err != nil {
			s.fail(w, r, err)
			return
		}
		routes.ServeHTTP(w, r)
	})
}

// Socket returns the handler for the Unix socket.
func (s *Server) Socket() http.Handler {
	routes := s.mux()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		routes.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), doorKey{}, overSocket)))
	})
}

// mux serves the routes, the pages and the three documents without a token.
func (s *Server) mux() http.Handler {
	mux := http.NewServeMux()
	paths := make(map[string]map[string]Route)
	for _, route := range Routes() {
		if paths[route.Path] == nil {
			paths[route.Path] = make(map[string]Route)
		}
		paths[route.Path][route.Method] = route
	}
	for path, methods := range paths {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			route, found := methods[r.Method]
			if !found {
				for m := range methods {
					w.Header().Add("Allow", m)
				}
				s.fail(w, r, ErrMethod)
				return
			}
			if !route.Public && doorOf(r) == overTCP {
				if err := s.guard.caller(r, !route.NoPage); err != nil {
					s.fail(w, r, err)
					return
				}
			}
			s.metrics.measure(route, w, r, func(w http.ResponseWriter) { route.serve(s, w, r) })
		})
	}
	mux.HandleFunc("/", s.page)
	return mux
}

// page serves the desk's pages; the document itself brings the session.
func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		s.fail(w, r, ErrMethod)
		return
	}
	name := r.URL.Path[1:]
	if name == "" {
		name = "index.html"
	}
	info, err := fs.Stat(s.pages, name)
	if err != nil || info.IsDir() {
		s.fail(w, r, ErrPath)
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", web.ContentSecurityPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-cache")
	if name == "index.html" {
		s.guard.admit(w)
	}
	http.ServeFileFS(w, r, s.pages, name)
}

// Serve answers on both doors until ctx ends, then lets calls that are under
// way end. socket may be nil.
func (s *Server) Serve(ctx context.Context, tcp, socket net.Listener) error {
	servers := []*http.Server{s.server(s.TCP())}
	listeners := []net.Listener{tcp}
	if socket != nil {
		servers, listeners = append(servers, s.server(s.Socket())), append(listeners, socket)
	}
	ended := make(chan error, len(servers))
	for i := range servers {
		go func() { ended <- servers[i].Serve(listeners[i]) }()
	}
	var failure error
	left := len(servers)
	select {
	case <-ctx.Done():
	case err := <-ended:
		left--
		failure = fmt.Errorf("serve: %w", err)
	}
	s.once.Do(func() { close(s.closing) })
	// A settlement that is under way ends before the process does.
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.grace)
	defer cancel()
	for _, h := range servers {
		if err := h.Shutdown(grace); err != nil {
			s.log.WithError(err).Warning("calls were cut off at shutdown")
			if err := h.Close(); err != nil {
				s.log.WithError(err).Debug("close")
			}
		}
	}
	for range left {
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) && failure == nil {
			failure = fmt.Errorf("serve: %w", err)
		}
	}
	return failure
}

func (s *Server) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          nil,
	}
}

// routeOf names the route of a request without its values.
func routeOf(r *http.Request) string {
	if r.Pattern != "" {
		return r.Pattern
	}
	return "unknown"
}

// number reads a bounded number from the query; empty is fallback.
func number(r *http.Request, key string, fallback, most int) (int, error) {
	text := r.URL.Query().Get(key)
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, &bodyError{fmt.Sprintf("%s is a number from 1 to %d", key, most)}
	}
	return n, nil
}

// metricsHandler is /metrics in the text form of Prometheus.
func (s *Server) metricsHandler(w http.ResponseWriter, r *http.Request) {
	promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{ErrorLog: s.log}).ServeHTTP(w, r)
}

// health is /healthz: 200 while the service can settle, 503 with the failing
// conditions while it cannot.
func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	state := s.desk.State()
	answer := Health{Status: "ok", Version: state.Version, Conditions: state.Health}
	status := http.StatusOK
	for _, c := range state.Health {
		if !c.OK {
			answer.Status, status = "degraded", http.StatusServiceUnavailable
		}
	}
	s.answer(w, status, answer)
}

// Health is the body of /healthz.
type Health struct {
	Status     string               `json:"status"` // ok or degraded
	Version    string               `json:"version"`
	Conditions []terminal.Condition `json:"conditions"`
}
