package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/job"
)

// readJSON reads a small body; none at all is an empty request, as in Flink.
func readJSON(r *http.Request, into any) error {
	err := json.NewDecoder(r.Body).Decode(into)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if big := (*http.MaxBytesError)(nil); errors.As(err, &big) {
		return err
	}
	if err != nil {
		return api.NewError(api.ErrInvalid, "BAD_REQUEST", fmt.Sprintf("the body is not what was expected: %v", err))
	}
	return nil
}

// begin starts an operation of a job and answers with its trigger id.
func begin[R any](s *Server, w http.ResponseWriter, r *http.Request, start func(id job.ID, request R) (string, error)) error {
	id, err := jobID(r)
	if err != nil {
		return err
	}
	var request R
	if err := readJSON(r, &request); err != nil {
		return err
	}
	trigger, err := start(id, request)
	if err != nil {
		return err
	}
	s.write(w, r, http.StatusAccepted, api.Triggered{RequestID: trigger})
	return nil
}

func (s *Server) savepoint(w http.ResponseWriter, r *http.Request) error {
	return begin(s, w, r, func(id job.ID, q api.SavepointRequest) (string, error) {
		return s.opts.Cluster.Savepoint(r.Context(), id, q)
	})
}

func (s *Server) stop(w http.ResponseWriter, r *http.Request) error {
	return begin(s, w, r, func(id job.ID, q api.StopRequest) (string, error) {
		return s.opts.Cluster.Stop(r.Context(), id, q)
	})
}

func (s *Server) checkpoint(w http.ResponseWriter, r *http.Request) error {
	return begin(s, w, r, func(id job.ID, q api.CheckpointRequest) (string, error) {
		return s.opts.Cluster.Checkpoint(r.Context(), id, q)
	})
}

// rescale takes Flink's query parameter beside the body.
func (s *Server) rescale(w http.ResponseWriter, r *http.Request) error {
	return begin(s, w, r, func(id job.ID, q api.RescaleRequest) (string, error) {
		if p := r.URL.Query().Get("parallelism"); p != "" {
			n, err := strconv.Atoi(p)
			if err != nil {
				return "", api.NewError(api.ErrInvalid, "BAD_PARALLELISM", fmt.Sprintf("parallelism %q is not a number", p))
			}
			q.Parallelism = n
		}
		return s.opts.Cluster.Rescale(r.Context(), id, q)
	})
}

// operation tells how an operation of a job goes.
func (s *Server) operation(w http.ResponseWriter, r *http.Request) error {
	id, err := jobID(r)
	if err != nil {
		return err
	}
	o, err := s.opts.Cluster.Operation(r.Context(), id, r.PathValue("trigger"))
	if err != nil {
		return err
	}
	return s.ok(w, r, o)
}

func (s *Server) dispose(w http.ResponseWriter, r *http.Request) error {
	var q api.DisposalRequest
	if err := readJSON(r, &q); err != nil {
		return err
	}
	trigger, err := s.opts.Cluster.Dispose(r.Context(), q)
	if err != nil {
		return err
	}
	s.write(w, r, http.StatusAccepted, api.Triggered{RequestID: trigger})
	return nil
}

func (s *Server) disposal(w http.ResponseWriter, r *http.Request) error {
	o, err := s.opts.Cluster.Disposal(r.Context(), r.PathValue("trigger"))
	if err != nil {
		return err
	}
	return s.ok(w, r, o)
}

func (s *Server) checkpointConfig(w http.ResponseWriter, r *http.Request) error {
	id, err := jobID(r)
	if err != nil {
		return err
	}
	c, err := s.opts.Cluster.CheckpointConfig(r.Context(), id)
	if err != nil {
		return err
	}
	return s.ok(w, r, c)
}

// details of the checkpoint that r names.
func (s *Server) details(r *http.Request) (*api.CheckpointDetails, error) {
	id, err := jobID(r)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(r.PathValue("checkpoint"), 10, 64)
	if err != nil {
		return nil, api.NewError(api.ErrInvalid, "BAD_CHECKPOINT_ID", fmt.Sprintf("checkpoint id %.80q is not a number", r.PathValue("checkpoint")))
	}
	return s.opts.Cluster.CheckpointDetails(r.Context(), id, n)
}

func (s *Server) checkpointDescribe(w http.ResponseWriter, r *http.Request) error {
	d, err := s.details(r)
	if err != nil {
		return err
	}
	return s.ok(w, r, d)
}

func (s *Server) checkpointDetails(w http.ResponseWriter, r *http.Request) error {
	d, err := s.details(r)
	if err != nil {
		return err
	}
	return s.ok(w, r, flinkDetails(d))
}

func (s *Server) checkpointSubtasks(w http.ResponseWriter, r *http.Request) error {
	d, err := s.details(r)
	if err != nil {
		return err
	}
	for i := range d.Vertices {
		if v := &d.Vertices[i]; strconv.Itoa(v.ID) == r.PathValue("vertex") || v.UID == r.PathValue("vertex") {
			return s.ok(w, r, flinkSubtasks(d, v))
		}
	}
	return api.NewError(api.ErrNotFound, "VERTEX_NOT_FOUND", fmt.Sprintf("checkpoint %d has no vertex %.80q", d.ID, r.PathValue("vertex")))
}
