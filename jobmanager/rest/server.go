package rest

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/weirstream/weir/client/api"
)

// Options of a Server.
type Options struct {
	Cluster  Cluster       // required
	Settings []api.Setting // of the JobManager, for /jobmanager/config; secrets masked
	Version  string        // of Weir
	Commit   string
	// Token that requests must present, as a bearer token or as the password of basic
	// authentication (for browsers). "" = none: for loopback only.
	Token string
	// Hosts are names, beside localhost and IP addresses, that clients may address
	// this server by. A page of another origin can't make a browser send one of
	// those, so a request with any other name is refused (DNS rebinding).
	Hosts []string
	// MaxBinary is the largest job binary in bytes; 0 = 1 GiB.
	MaxBinary int64
	TLS       *tls.Config // nil = plain HTTP
	Log       *slog.Logger
}

// Time that requests have. A submission may take long, but must go on.
const (
	headerTimeout = 5 * time.Second
	answerTimeout = 30 * time.Second // for small requests; and for each part of an upload
	idleTimeout   = 2 * time.Minute
	stopTimeout   = 2 * time.Second // for requests under way when the server stops
)

const defaultMaxBinary = 1 << 30 // bytes

// Server is the HTTP API of one JobManager. Immutable after New.
type Server struct {
	opts   Options
	log    *slog.Logger
	mux    *http.ServeMux
	origin *http.CrossOriginProtection
	token  [sha256.Size]byte
	now    func() time.Time
}

// New returns a server of o.
func New(o Options) (*Server, error) {
	if o.Cluster == nil {
		return nil, errors.New("rest: no cluster")
	}
	if o.MaxBinary == 0 {
		o.MaxBinary = defaultMaxBinary
	}
	s := &Server{
		opts: o, log: o.Log, mux: http.NewServeMux(), origin: http.NewCrossOriginProtection(),
		token: sha256.Sum256([]byte(o.Token)), now: time.Now,
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	for _, rt := range routes {
		s.mux.Handle(rt.method+" "+rt.path, s.door(rt))
	}
	return s, nil
}

// Serve answers on ln until ctx is done, then closes it and returns nil.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{
		Handler:           s,
		TLSConfig:         s.opts.TLS,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if srv.Shutdown(grace) != nil {
			srv.Close()
		}
	})
	if s.opts.TLS != nil {
		ln = tls.NewListener(ln, s.opts.TLS)
	}
	err := srv.Serve(ln)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve REST API on %s: %w", ln.Addr(), err)
}

// ServeHTTP implements http.Handler: what holds for all requests.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	if !s.knownHost(r.Host) {
		s.fail(w, r, http.StatusMisdirectedRequest, api.NewError(api.ErrInvalid, "HOST_NOT_ALLOWED",
			fmt.Sprintf("this server does not go by the name %q", r.Host)))
		return
	}
	if err := s.origin.Check(r); err != nil {
		s.fail(w, r, http.StatusForbidden, api.NewError(api.ErrDenied, "CROSS_ORIGIN", "a page of another origin may not change anything"))
		return
	}
	_, pattern := s.mux.Handler(r)
	if pattern != "" {
		s.mux.ServeHTTP(w, r)
		return
	}
	if !s.authorized(r) {
		s.deny(w, r)
		return
	}
	if allowed := s.allowedMethods(r); len(allowed) > 0 {
		h.Set("Allow", strings.Join(allowed, ", "))
		s.fail(w, r, http.StatusMethodNotAllowed, api.NewError(api.ErrInvalid, "METHOD_NOT_ALLOWED",
			fmt.Sprintf("%s is not possible on %s, only %s", r.Method, r.URL.Path, strings.Join(allowed, ", "))))
		return
	}
	s.fail(w, r, http.StatusNotFound, api.NewError(api.ErrNotFound, "NO_SUCH_PATH", "no such path: "+r.URL.Path))
}

// knownHost says whether a request may be addressed to host.
func (s *Server) knownHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.Trim(name, "[]")
	return name == "localhost" || net.ParseIP(name) != nil ||
		slices.ContainsFunc(s.opts.Hosts, func(h string) bool { return strings.EqualFold(h, name) })
}

// authorized says whether r presents the token, if one is wanted.
func (s *Server) authorized(r *http.Request) bool {
	if s.opts.Token == "" {
		return true
	}
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		_, given, ok = r.BasicAuth()
	}
	sum := sha256.Sum256([]byte(given)) // equal lengths, so that time tells nothing
	return subtle.ConstantTimeCompare(sum[:], s.token[:]) == 1 && ok
}

func (s *Server) deny(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("WWW-Authenticate", `Basic realm="weir"`)
	s.fail(w, r, http.StatusUnauthorized, api.NewError(api.ErrDenied, "TOKEN_REQUIRED",
		"the token is missing or wrong", "set WEIR_TOKEN to the cluster's token"))
}

// door guards one route.
func (s *Server) door(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if rt.right != probe && !s.authorized(r) {
			s.deny(w, r)
			return
		}
		if rt.place == leaderOnly && !s.atLeader(w, r) {
			return
		}
		limit := rt.body
		if limit == binary {
			limit = s.opts.MaxBinary + maxPlan + maxHead + smallBody
		}
		r.Body = http.MaxBytesReader(w, r.Body, limit)
		c := http.NewResponseController(w)
		deadline := time.Now().Add(answerTimeout)
		c.SetReadDeadline(deadline) // not all transports can; then the client's time counts
		c.SetWriteDeadline(deadline)
		if err := rt.handle(s, w, r); err != nil {
			s.answer(w, r, err)
		}
	})
}

// atLeader reports whether this JobManager leads; if not, r is answered with where
// the leader is.
func (s *Server) atLeader(w http.ResponseWriter, r *http.Request) bool {
	l, err := s.opts.Cluster.Leader(r.Context())
	if err == nil && !l.Self && l.RESTAddress == "" {
		err = api.NewError(api.ErrUnavailable, "NO_LEADER", "the leader has no REST address yet")
	}
	switch {
	case err != nil:
		s.answer(w, r, err)
		return false
	case l.Self:
		return true
	}
	scheme := "http://"
	if s.opts.TLS != nil {
		scheme = "https://"
	}
	w.Header().Set("Location", scheme+l.RESTAddress+r.URL.RequestURI())
	s.fail(w, r, http.StatusTemporaryRedirect, api.NewError(api.ErrUnavailable, "NOT_LEADER",
		"this JobManager stands by; the leader is "+l.RESTAddress))
	return false
}

// statusOf are the HTTP codes of the marks of package api.
var statusOf = map[error]int{
	api.ErrInvalid: http.StatusBadRequest, api.ErrNotFound: http.StatusNotFound, api.ErrConflict: http.StatusConflict,
	api.ErrIncompatible: http.StatusUnprocessableEntity, api.ErrUnavailable: http.StatusServiceUnavailable,
	api.ErrDenied: http.StatusUnauthorized, api.ErrTooLarge: http.StatusRequestEntityTooLarge,
}

// answer tells the client about err.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, err error) {
	if big := (*http.MaxBytesError)(nil); errors.As(err, &big) {
		err = api.NewError(api.ErrTooLarge, "BODY_TOO_LARGE", fmt.Sprintf("the request has more than %d bytes", big.Limit))
	}
	mark := api.MarkOf(err)
	status, known := statusOf[mark]
	var full *api.Error
	switch {
	case !known:
		s.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "err", err)
		status, full = http.StatusInternalServerError, &api.Error{Errors: []string{err.Error()}, Code: "INTERNAL"}
	case !errors.As(err, &full):
		full = api.NewError(mark, strings.ToUpper(strings.ReplaceAll(mark.Error(), " ", "_")), err.Error())
	}
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	s.fail(w, r, status, full)
}

// fail writes an error as JSON.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, status int, e *api.Error) {
	if e.Hints == nil {
		e = &api.Error{Errors: e.Errors, Hints: []string{}, Code: e.Code, Kind: e.Kind}
	}
	s.write(w, r, status, e)
}

// write writes v as JSON. That the client went away is its own affair.
func (s *Server) write(w http.ResponseWriter, r *http.Request, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("weir: BUG: answer to %s %s: %v", r.Method, r.URL.Path, err))
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	w.Write(append(b, '\n'))
}
