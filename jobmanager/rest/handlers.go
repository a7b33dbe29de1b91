package rest

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/job"
)

// ok writes v and is the end of most handlers.
func (s *Server) ok(w http.ResponseWriter, r *http.Request, v any) error {
	s.write(w, r, http.StatusOK, v)
	return nil
}

func (s *Server) livez(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, "ok")
	return nil
}

// readyz answers 200 if all checks hold; with ?verbose it lists them.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) error {
	checks := s.opts.Cluster.Ready(r.Context())
	status, verdict := http.StatusOK, "ok"
	var text strings.Builder
	_, verbose := r.URL.Query()["verbose"]
	for _, c := range checks {
		line := "[+] " + c.Name + " ok"
		if !c.OK {
			status, verdict = http.StatusServiceUnavailable, "not ready"
			line = "[-] " + c.Name + " failed: " + c.Detail
		}
		if verbose || !c.OK {
			text.WriteString(line + "\n")
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintln(w, text.String()+verdict)
	return nil
}

func (s *Server) leader(w http.ResponseWriter, r *http.Request) error {
	l, err := s.opts.Cluster.Leader(r.Context())
	if err != nil {
		return err
	}
	return s.ok(w, r, l)
}

// config has Flink's form.
func (s *Server) config(w http.ResponseWriter, r *http.Request) error {
	return s.ok(w, r, map[string]any{
		"refresh-interval": 3000, "timezone-name": "UTC", "timezone-offset": 0,
		"flink-version": s.opts.Version, "flink-revision": s.opts.Commit, "weir-version": s.opts.Version,
		"features": map[string]bool{"web-submit": false, "web-cancel": false, "web-history": false},
	})
}

func (s *Server) settings(w http.ResponseWriter, r *http.Request) error {
	return s.ok(w, r, emptyNotNull(s.opts.Settings))
}

func (s *Server) overview(w http.ResponseWriter, r *http.Request) error {
	o, err := s.opts.Cluster.Overview(r.Context())
	if err != nil {
		return err
	}
	o.WeirVersion, o.FlinkVersion, o.FlinkCommit = s.opts.Version, s.opts.Version, s.opts.Commit
	return s.ok(w, r, o)
}

func (s *Server) taskManagers(w http.ResponseWriter, r *http.Request) error {
	all, err := s.opts.Cluster.TaskManagers(r.Context())
	if err != nil {
		return err
	}
	return s.ok(w, r, flinkTaskManagers(all))
}

func (s *Server) jobs(w http.ResponseWriter, r *http.Request) error {
	jobs, err := s.opts.Cluster.Jobs(r.Context())
	if err != nil {
		return err
	}
	return s.ok(w, r, flinkJobs(jobs))
}

func (s *Server) jobsOverview(w http.ResponseWriter, r *http.Request) error {
	jobs, err := s.opts.Cluster.Jobs(r.Context())
	if err != nil {
		return err
	}
	return s.ok(w, r, flinkJobsOverview(jobs, s.now()))
}

func (s *Server) describeAll(w http.ResponseWriter, r *http.Request) error {
	jobs, err := s.opts.Cluster.Jobs(r.Context())
	if err != nil {
		return err
	}
	for _, j := range jobs {
		fill(j)
	}
	return s.ok(w, r, emptyNotNull(jobs))
}

// find returns the job that r names.
func (s *Server) find(r *http.Request) (*api.Job, error) {
	id, err := jobID(r)
	if err != nil {
		return nil, err
	}
	j, err := s.opts.Cluster.Job(r.Context(), id)
	if err != nil {
		return nil, err
	}
	fill(j)
	return j, nil
}

func jobID(r *http.Request) (job.ID, error) {
	id := job.ID(r.PathValue("id"))
	if err := id.Validate(); err != nil {
		return "", api.NewError(api.ErrInvalid, "BAD_JOB_ID", err.Error())
	}
	return id, nil
}

// fill makes what is empty [] or {} in JSON, never null.
func fill(j *api.Job) {
	j.Vertices = emptyNotNull(j.Vertices)
	for i := range j.Vertices {
		j.Vertices[i].Subtasks = emptyNotNull(j.Vertices[i].Subtasks)
	}
	j.Checkpoints.History = emptyNotNull(j.Checkpoints.History)
	j.Failures = emptyNotNull(j.Failures)
	if j.Settings == nil {
		j.Settings = map[string]string{}
	}
}

func emptyNotNull[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

func (s *Server) describe(w http.ResponseWriter, r *http.Request) error {
	j, err := s.find(r)
	if err != nil {
		return err
	}
	return s.ok(w, r, j)
}

func (s *Server) job(w http.ResponseWriter, r *http.Request) error {
	j, err := s.find(r)
	if err != nil {
		return err
	}
	return s.ok(w, r, flinkJob(j, s.now()))
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) error {
	j, err := s.find(r)
	if err != nil {
		return err
	}
	return s.ok(w, r, map[string]string{"status": j.State})
}

func (s *Server) jobConfig(w http.ResponseWriter, r *http.Request) error {
	j, err := s.find(r)
	if err != nil {
		return err
	}
	return s.ok(w, r, map[string]any{"jid": j.ID, "name": j.Name, "execution-config": map[string]any{
		"job-parallelism": j.Parallelism, "user-config": j.Settings,
	}})
}

func (s *Server) checkpoints(w http.ResponseWriter, r *http.Request) error {
	j, err := s.find(r)
	if err != nil {
		return err
	}
	return s.ok(w, r, flinkCheckpoints(j))
}

func (s *Server) exceptions(w http.ResponseWriter, r *http.Request) error {
	j, err := s.find(r)
	if err != nil {
		return err
	}
	return s.ok(w, r, flinkExceptions(j))
}

func (s *Server) executionResult(w http.ResponseWriter, r *http.Request) error {
	j, err := s.find(r)
	if err != nil {
		return err
	}
	return s.ok(w, r, flinkResult(j))
}

// cancel is PATCH /jobs/{id}?mode=cancel; mode may be left out, as in Flink.
func (s *Server) cancel(w http.ResponseWriter, r *http.Request) error {
	id, err := jobID(r)
	if err != nil {
		return err
	}
	if mode := r.URL.Query().Get("mode"); mode != "" && mode != "cancel" {
		return api.NewError(api.ErrInvalid, "BAD_MODE", fmt.Sprintf("mode %q is not possible, only cancel", mode))
	}
	if err := s.opts.Cluster.Cancel(r.Context(), id); err != nil {
		return err
	}
	s.write(w, r, http.StatusAccepted, struct{}{})
	return nil
}
