package rest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime/multipart"
	"net/http"
	"time"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/job"
)

const (
	maxHead = 1 << 20  // bytes: settings and a snapshot's path
	maxPlan = 16 << 20 // bytes: some 100,000 operators
)

// submit is POST /jobs: the binary streams through to the cluster, never held in
// memory or in a file of ours.
func (s *Server) submit(w http.ResponseWriter, r *http.Request) error {
	parts, err := r.MultipartReader()
	if err != nil {
		return badSubmission("the body is no multipart/form-data: %v", err)
	}
	sub, err := s.readHead(parts)
	if err != nil {
		return err
	}
	if sub.Plan, err = readPart(parts, api.PartPlan, maxPlan); err != nil {
		return err
	}
	body, err := nextPart(parts, api.PartBinary)
	if err != nil {
		return err
	}
	sub.Binary = &checkedReader{
		r: &patientReader{body, http.NewResponseController(w)}, want: sub.BinarySHA256, left: sub.BinarySize, sum: sha256.New(),
	}
	answer, err := s.opts.Cluster.Submit(r.Context(), sub)
	if err != nil {
		return err
	}
	s.write(w, r, http.StatusAccepted, answer)
	return nil
}

// readHead reads and checks the first part.
func (s *Server) readHead(parts *multipart.Reader) (*api.Submission, error) {
	b, err := readPart(parts, api.PartHead, maxHead)
	if err != nil {
		return nil, err
	}
	var head api.SubmissionHead
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, badSubmission("part %s is not what was expected: %v", api.PartHead, err)
	}
	if err := job.ID(head.ID).Validate(); err != nil {
		return nil, badSubmission("%v", err)
	}
	sub := &api.Submission{
		ID: head.ID, Settings: head.Settings, Restore: head.Restore, ClientVersion: head.ClientVersion,
		GOARCH: head.GOARCH, BinarySize: head.BinarySize,
	}
	switch n, err := hex.Decode(sub.BinarySHA256[:], []byte(head.BinarySHA256[:min(len(head.BinarySHA256), 64)])); {
	case err != nil || n != sha256.Size || len(head.BinarySHA256) != 64:
		return nil, badSubmission("the binary's digest %q is no SHA-256 in hex", head.BinarySHA256)
	case head.BinarySize <= 0:
		return nil, badSubmission("the binary has %d bytes", head.BinarySize)
	case head.BinarySize > s.opts.MaxBinary:
		return nil, api.NewError(api.ErrTooLarge, "BINARY_TOO_LARGE",
			fmt.Sprintf("the binary has %d bytes, at most %d are allowed (rest.server.max-content-length)", head.BinarySize, s.opts.MaxBinary))
	}
	return sub, nil
}

func badSubmission(format string, args ...any) error {
	return api.NewError(api.ErrInvalid, "BAD_SUBMISSION", fmt.Sprintf("submission: "+format, args...))
}

func nextPart(parts *multipart.Reader, name string) (*multipart.Part, error) {
	p, err := parts.NextPart()
	if big := (*http.MaxBytesError)(nil); errors.As(err, &big) {
		return nil, err
	}
	switch {
	case err != nil:
		return nil, badSubmission("part %s is missing: %v", name, err)
	case p.FormName() != name:
		return nil, badSubmission("part %q stands where %s is expected", p.FormName(), name)
	}
	return p, nil
}

func readPart(parts *multipart.Reader, name string, most int64) ([]byte, error) {
	p, err := nextPart(parts, name)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(p, most+1))
	switch {
	case err != nil:
		return nil, badSubmission("read part %s: %v", name, err)
	case int64(len(b)) > most:
		return nil, api.NewError(api.ErrTooLarge, "PART_TOO_LARGE", fmt.Sprintf("submission: part %s has more than %d bytes", name, most))
	}
	return b, nil
}

// checkedReader yields a binary and fails with its last byte if it is not the one
// that was announced, so that whoever stops after BinarySize bytes learns it too.
type checkedReader struct {
	r    io.Reader
	want [sha256.Size]byte
	left int64
	sum  hash.Hash
	err  error
}

// Read implements io.Reader.
func (c *checkedReader) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.r.Read(p)
	c.sum.Write(p[:n])
	c.left -= int64(n)
	switch {
	case c.left < 0:
		err = badSubmission("the binary has more bytes than announced")
	case c.left > 0 && err == io.EOF:
		err = badSubmission("%d bytes of the binary are missing", c.left)
	case c.left == 0 && [sha256.Size]byte(c.sum.Sum(nil)) != c.want:
		err = badSubmission("the binary has another SHA-256 than announced: it was damaged on its way")
	}
	c.err = err
	return n, err
}

// patientReader gives each read of an upload its own time: it may take long, but it
// must not stand still.
type patientReader struct {
	r io.Reader
	c *http.ResponseController
}

// Read implements io.Reader.
func (p *patientReader) Read(b []byte) (int, error) {
	deadline := time.Now().Add(answerTimeout)
	p.c.SetReadDeadline(deadline)
	p.c.SetWriteDeadline(deadline.Add(answerTimeout)) // the answer comes after the last read
	return p.r.Read(b)
}
