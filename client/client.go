package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/weirstream/weir/client/api"
)

// DefaultAddress is where a JobManager's REST API is if nothing else is said.
const DefaultAddress = "127.0.0.1:8081"

// Options of a Client.
type Options struct {
	// Address is host:port or http(s)://host:port of a JobManager, or several of them
	// separated by commas; DefaultAddress if empty.
	Address string
	Token   string // of the cluster; "" = none
	// Wait is how long a request may wait for a leader; 0 = 10 s. A cluster that has
	// never answered is waited for much shorter.
	Wait time.Duration
	// Notice is told, a line at a time, what is being waited for. May be nil.
	Notice func(string)
	HTTP   *http.Client // nil = one of its own
}

const (
	defaultWait = 10 * time.Second
	firstWait   = 2 * time.Second // for a cluster that has never answered: it may be starting
	retryFirst  = 50 * time.Millisecond
	retryMost   = time.Second
	// Of one small request: the first try is given up soon, because a leader that is frozen
	// takes connections and another may lead by now; each after it has twice the time.
	answerFirst   = 5 * time.Second
	answerMost    = 30 * time.Second
	mostRedirects = 5
	mostAnswer    = 64 << 20 // bytes
)

// Client is a cluster as seen from outside.
type Client struct {
	opts  Options
	http  *http.Client
	bases []string // as configured

	mu struct {
		sync.Mutex
		base     string // where the last request was answered; "" = try bases
		answered bool   // ever
	}
}

// New returns a client of the cluster at o.Address. It does not connect yet.
func New(o Options) (*Client, error) {
	c := &Client{opts: o}
	c.opts.Wait = cmp.Or(o.Wait, defaultWait)
	for a := range strings.SplitSeq(cmp.Or(o.Address, DefaultAddress), ",") {
		base, err := baseURL(strings.TrimSpace(a))
		if err != nil {
			return nil, err
		}
		c.bases = append(c.bases, base)
	}
	own := http.Client{}
	if o.HTTP != nil {
		own = *o.HTTP
	} else {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.Proxy = nil // a cluster is not behind the proxy of a browser
		own.Transport = t
	}
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.http = &own
	return c, nil
}

// baseURL makes scheme://host:port of an address.
func baseURL(address string) (string, error) {
	text := address
	if !strings.Contains(address, "://") {
		text = "http://" + address
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Port() == "" || strings.Trim(u.Path, "/") != "" || u.User != nil {
		return "", api.NewError(api.ErrInvalid, "BAD_ADDRESS",
			fmt.Sprintf("JobManager address %q is not of the form host:port", address), "weir -m "+DefaultAddress+" …")
	}
	return u.Scheme + "://" + u.Host, nil
}

// Overview returns the cluster in numbers.
func (c *Client) Overview(ctx context.Context) (o api.Overview, err error) {
	err = c.get(ctx, "/overview", &o)
	return o, err
}

// Jobs returns all jobs, newest first.
func (c *Client) Jobs(ctx context.Context) (jobs []*api.Job, err error) {
	err = c.get(ctx, "/jobs/describe", &jobs)
	return jobs, err
}

// Job returns the job with this id; see Find for names.
func (c *Client) Job(ctx context.Context, id string) (*api.Job, error) {
	j := new(api.Job)
	if err := c.get(ctx, "/jobs/"+url.PathEscape(id)+"/describe", j); err != nil {
		return nil, err
	}
	return j, nil
}

// TaskManagers returns the TaskManagers that the leader knows.
func (c *Client) TaskManagers(ctx context.Context) ([]api.TaskManager, error) {
	var answer struct {
		TaskManagers []api.TaskManager `json:"taskmanagers"`
	}
	err := c.get(ctx, "/taskmanagers", &answer)
	return answer.TaskManagers, err
}

// Leader says who leads.
func (c *Client) Leader(ctx context.Context) (l api.Leader, err error) {
	err = c.get(ctx, "/leader", &l)
	return l, err
}

// Takeover says who leads, and what that one says of the jobs that it has taken over.
func (c *Client) Takeover(ctx context.Context) (l api.Leader, err error) {
	err = c.get(ctx, "/leader/takeover", &l)
	return l, err
}

// Cancel has the job with this id cancelled. It does not wait for its end.
func (c *Client) Cancel(ctx context.Context, id string) error {
	return c.do(ctx, "PATCH", "/jobs/"+url.PathEscape(id)+"?mode=cancel", nil, nil)
}

func (c *Client) get(ctx context.Context, path string, into any) error {
	return c.do(ctx, "GET", path, nil, into)
}

// body is what a request carries: opened anew for each try.
type body struct {
	contentType string
	small       bool // it has the time of a small request, and is no upload
	open        func() io.ReadCloser
}

// do sends a request until it is answered, or the wait is over.
func (c *Client) do(ctx context.Context, method, path string, b *body, into any) error {
	start, pause, said := time.Now(), retryFirst, ""
	for try := 0; ; try++ {
		answered, err := c.try(ctx, method, path, b, into, try)
		switch {
		case err == nil:
			return nil // what was done is done, though ctx may have ended meanwhile
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !errors.Is(err, api.ErrUnavailable):
			return err
		}
		wait := c.opts.Wait
		if !answered {
			wait = min(wait, firstWait)
		}
		if time.Since(start)+pause > wait {
			return err
		}
		if what := err.Error(); c.opts.Notice != nil && what != said && try > 2 {
			said = what
			c.opts.Notice(what + "; trying again")
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		pause = min(2*pause, retryMost)
	}
}

// try sends a request once, and on to where it is redirected. answered says whether
// this cluster has ever answered.
func (c *Client) try(ctx context.Context, method, path string, b *body, into any, n int) (answered bool, err error) {
	c.mu.Lock()
	base, answered := cmp.Or(c.mu.base, c.bases[n%len(c.bases)]), c.mu.answered
	c.mu.Unlock()
	for range mostRedirects {
		next, err := c.send(ctx, base, method, path, b, into, n)
		if next != "" {
			base, answered = next, true
			c.mu.Lock()
			c.mu.answered = true // a standby: where it leads to may have died just now
			c.mu.Unlock()
			continue
		}
		if wrong := wrongDoor(base, err); wrong != nil {
			return true, wrong
		}
		unreachable := errors.As(err, new(*url.Error))
		c.mu.Lock()
		defer c.mu.Unlock()
		if unreachable {
			c.mu.base = ""
			return c.mu.answered || answered, c.unreachable(base, err)
		}
		c.mu.base, c.mu.answered = base, true
		if errors.Is(err, api.ErrUnavailable) {
			c.mu.base = "" // ask another one
		}
		return true, err
	}
	return true, api.NewError(api.ErrUnavailable, "NO_LEADER", fmt.Sprintf("the JobManagers at %s redirect in a circle", strings.Join(c.bases, ", ")))
}

func (c *Client) unreachable(base string, err error) error {
	cause := err
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		cause = op.Err
	} else if u := (*url.Error)(nil); errors.As(err, &u) {
		cause = u.Err
	}
	return api.NewError(api.ErrUnavailable, "UNREACHABLE", fmt.Sprintf("no JobManager answers at %s: %v", strings.TrimPrefix(base, "http://"), cause),
		"start one:  weir jobmanager", "or say where it is:  -m host:port, or WEIR_JOBMANAGER=host:port")
}

// send sends one request, for the n-th time. next is where it is redirected to; a *url.Error says that
// there was no answer.
func (c *Client) send(ctx context.Context, base, method, path string, b *body, into any, n int) (next string, err error) {
	var rd io.Reader
	if b != nil {
		content := b.open()
		defer content.Close()
		rd = content
	}
	if b == nil || b.small {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, min(answerMost, answerFirst<<min(n, 8)))
		defer cancel()
	}
	r, err := http.NewRequestWithContext(ctx, method, base+path, rd)
	if err != nil {
		return "", fmt.Errorf("make request for %s: %w", base+path, err)
	}
	if b != nil {
		r.Header.Set("Content-Type", b.contentType)
		if !b.small {
			r.Header.Set("Expect", "100-continue") // a refusal comes before megabytes are sent
		}
	}
	if c.opts.Token != "" {
		r.Header.Set("Authorization", "Bearer "+c.opts.Token)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer))
	if err != nil {
		return "", &url.Error{Op: method, URL: base + path, Err: err} // the connection broke: as if unanswered
	}
	switch {
	case resp.StatusCode == http.StatusTemporaryRedirect:
		to, err := resp.Location()
		if err != nil {
			return "", fmt.Errorf("%s %s redirects nowhere: %w", method, base+path, err)
		}
		return to.Scheme + "://" + to.Host, nil
	case resp.StatusCode/100 != 2:
		return "", answerError(base, resp.StatusCode, text)
	case into == nil:
		return "", nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return "", notWeir(base, fmt.Sprintf("its answer to %s %s is not what was expected: %v", method, path, err))
	}
	return "", nil
}

// answerError is the error that an answer tells of.
func answerError(base string, status int, text []byte) error {
	var e api.Error
	if status == http.StatusBadRequest && strings.HasPrefix(string(text), plainToTLS) {
		host := strings.TrimPrefix(base, "http://")
		return api.NewError(api.ErrInvalid, "TLS_REQUIRED", "the JobManager at "+host+" speaks TLS only", "-m https://"+host)
	}
	if json.Unmarshal(text, &e) != nil || len(e.Errors) == 0 {
		return notWeir(base, fmt.Sprintf("it answers HTTP %d", status))
	}
	return &e
}

// plainToTLS is what Go's server answers to plain HTTP where it speaks TLS.
const plainToTLS = "Client sent an HTTP request to an HTTPS server"

// wrongDoor is the error of a connection that no second try makes better: TLS on one
// side only, or a certificate that is not trusted. Else nil.
func wrongDoor(base string, err error) error {
	host := strings.TrimPrefix(strings.TrimPrefix(base, "https://"), "http://")
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var cert *tls.CertificateVerificationError
	what := "the certificate of the JobManager at " + host + " is not accepted: "
	switch {
	case err == nil:
		return nil
	case errors.Is(err, http.ErrSchemeMismatch):
		return api.NewError(api.ErrInvalid, "NO_TLS", "the JobManager at "+host+" does not speak TLS", "-m "+host)
	case errors.As(err, &unknown):
		return api.NewError(api.ErrDenied, "BAD_CERTIFICATE", what+"this machine does not know who signed it",
			"if it is your own, name its file:  SSL_CERT_FILE=cert.pem weir …")
	case errors.As(err, &name):
		return api.NewError(api.ErrDenied, "BAD_CERTIFICATE", what+strings.TrimPrefix(name.Error(), "x509: "), "-m https://NAME:PORT, with a name that it is for")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return api.NewError(api.ErrDenied, "BAD_CERTIFICATE", what+invalid.Detail, "renew rest.tls.cert-file, and see that the clocks are right")
	case errors.As(err, &cert):
		return api.NewError(api.ErrDenied, "BAD_CERTIFICATE", what+strings.TrimPrefix(cert.Err.Error(), "x509: "), "SSL_CERT_FILE=cert.pem weir …")
	}
	return nil
}

func notWeir(base, why string) error {
	return fmt.Errorf("%s is no JobManager of this version of Weir: %s", strings.TrimPrefix(base, "http://"), why)
}
