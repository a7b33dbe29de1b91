package client

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"os"

	"github.com/weirstream/weir/client/api"
)

// Submission is a job to be run on a cluster.
type Submission struct {
	ID            string            // "" = a new one; under the same id a job is accepted once
	Binary        string            // path
	Plan          []byte            // as the binary wrote it
	Settings      map[string]string // -D and -p, under their own names
	Restore       api.Restore       // without a Path it starts empty
	ClientVersion string
	GOARCH        string
	Progress      func(sent, of int64) // may be nil; called by one goroutine at a time, and not after Submit has returned
}

// Submit sends a job and returns its id, and what the cluster has to say about it, when
// the cluster has recorded it.
func (c *Client) Submit(ctx context.Context, s Submission) (api.Submitted, error) {
	var none api.Submitted
	if s.ID == "" {
		s.ID = NewID()
	}
	size, sum, err := digest(s.Binary)
	if err != nil {
		return none, err
	}
	if err := c.atLeader(ctx); err != nil {
		return none, err
	}
	head, err := json.Marshal(api.SubmissionHead{
		ID: s.ID, Settings: s.Settings, Restore: s.Restore, ClientVersion: s.ClientVersion, GOARCH: s.GOARCH,
		BinarySize: size, BinarySHA256: hex.EncodeToString(sum),
	})
	if err != nil {
		return none, fmt.Errorf("encode submission: %w", err)
	}
	boundary := multipart.NewWriter(io.Discard).Boundary()
	end := func() {} // ends the writer of the attempt before: Progress is called by one at a time
	b := &body{contentType: "multipart/form-data; boundary=" + boundary, open: func() io.ReadCloser {
		end()
		r, w := io.Pipe()
		written := make(chan struct{})
		go func() {
			defer close(written)
			w.CloseWithError(s.write(w, boundary, head, size))
		}()
		end = func() { r.Close(); <-written }
		return r
	}}
	defer func() { end() }()
	var answer api.Submitted
	if err := c.do(ctx, "POST", "/jobs", b, &answer); err != nil {
		return none, err
	}
	return answer, nil
}

// atLeader finds the leader, so that a binary is not sent to a standby.
func (c *Client) atLeader(ctx context.Context) error {
	l, err := c.Leader(ctx)
	if err != nil || l.Self || l.RESTAddress == "" {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if scheme, _, ok := cutScheme(c.mu.base); ok {
		c.mu.base = scheme + "://" + l.RESTAddress
	}
	return nil
}

func cutScheme(base string) (scheme, rest string, ok bool) {
	for _, s := range []string{"http", "https"} {
		if len(base) > len(s)+3 && base[:len(s)+3] == s+"://" {
			return s, base[len(s)+3:], true
		}
	}
	return "", base, false
}

// write writes the parts of a submission.
func (s *Submission) write(w io.Writer, boundary string, head []byte, size int64) error {
	m := multipart.NewWriter(w)
	if err := m.SetBoundary(boundary); err != nil {
		return err
	}
	for _, p := range []struct {
		name    string
		content []byte
	}{{api.PartHead, head}, {api.PartPlan, s.Plan}} {
		part, err := m.CreateFormField(p.name)
		if err == nil {
			_, err = part.Write(p.content)
		}
		if err != nil {
			return err
		}
	}
	part, err := m.CreateFormFile(api.PartBinary, "binary")
	if err != nil {
		return err
	}
	f, err := os.Open(s.Binary)
	if err != nil {
		return fmt.Errorf("read job binary: %w", err)
	}
	defer f.Close()
	if _, err := io.Copy(part, &counted{r: f, of: size, tell: s.Progress}); err != nil {
		return fmt.Errorf("send job binary %s: %w", s.Binary, err)
	}
	return m.Close()
}

// counted tells how far a reader is.
type counted struct {
	r        io.Reader
	sent, of int64
	tell     func(sent, of int64)
}

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.sent += int64(n)
	if c.tell != nil && n > 0 {
		c.tell(c.sent, c.of)
	}
	return n, err
}

// NewID returns an id for a submission, which becomes the job's.
func NewID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// digest returns size and SHA-256 of a file.
func digest(path string) (int64, []byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, nil, fmt.Errorf("read job binary: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err == nil && n == 0 {
		err = errors.New("it is empty")
	}
	if err != nil {
		return 0, nil, fmt.Errorf("read job binary %s: %w", path, err)
	}
	return n, h.Sum(nil), nil
}
