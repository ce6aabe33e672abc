package explain

import (
	"context"
	"errors"
	"fmt"

	"flint"
	"flint/worker"
)

// function says whether a function can be called, and why not.
func (x *Explainer) function(ctx context.Context, project flint.ProjectID, id string) (*flint.Explanation, error) {
	f, err := x.config.Store.Function(ctx, project, flint.FunctionID(id))
	if err != nil {
		return nil, err
	}
	e := &flint.Explanation{Kind: "function", ID: id, Function: f.ID, State: "ready", Since: f.DeploymentCreatedAt}
	if !f.CreatedAt.IsZero() {
		e.History = append(e.History, flint.Moment{At: f.CreatedAt, What: "The function was made."})
	}
	blocked, err := x.blocked(ctx, f)
	if err != nil {
		return nil, err
	}
	switch {
	case blocked != nil:
		e.State, e.Since, e.Summary, e.Advice = blocked.state, f.UpdatedAt, blocked.why, blocked.advice
	case !f.Enabled:
		e.State, e.Since = "disabled", f.UpdatedAt
		e.Summary = "The function is disabled: clients and callers of its domains are told that it does not exist. Keys, schedules and events still run it."
		e.Advice = []string{"Enable it in its settings when clients are to call it again."}
	default:
		e.Summary = "The function can be called."
		e.History = append(e.History, flint.Moment{At: f.DeploymentCreatedAt, What: "Its active deployment " + string(f.DeploymentID) + " was made."})
	}
	if f.LatestDeploymentStatus == flint.DeploymentFailed && f.LatestDeploymentID != f.DeploymentID {
		e.Summary += fmt.Sprintf(" Its newest deployment %s failed to build, so that calls go to an older one.", f.LatestDeploymentID)
		e.Advice = append(e.Advice, "flint explain "+string(f.LatestDeploymentID)+" says why that build failed.")
	}
	s := x.standing(f)
	e.Summary += fmt.Sprintf(" On this node it has %s with %s in them; %s for one.", count(s.Workers, "worker"), count(s.InFlight, "call"), waits(s.Waiting))
	if s.Failures > 0 {
		e.State = "failing"
		e.Summary += fmt.Sprintf(" The last %s of a worker failed: %s", count(s.Failures, "start"), s.Failed)
		e.Advice = append(e.Advice, "Read the errors of its last executions: flint executions --function "+id+" --logs.")
	}
	return e, x.schedule(ctx, f, e)
}

func waits(n int) string {
	switch n {
	case 0:
		return "no call waits"
	case 1:
		return "1 call waits"
	}
	return fmt.Sprintf("%d calls wait", n)
}

func (x *Explainer) standing(f *flint.Function) worker.Standing {
	if x.config.Pool == nil {
		return worker.Standing{}
	}
	return x.config.Pool.Standing(f.Project, f.ID)
}

// obstacle is why a function cannot be called at all.
type obstacle struct {
	state, why string
	advice     []string
}

// blocked returns what keeps a function from being called; nil: nothing.
func (x *Explainer) blocked(ctx context.Context, f *flint.Function) (*obstacle, error) {
	if f.DeploymentID == "" {
		o := &obstacle{state: "no deployment", why: "The function has no active deployment: there is no code to run."}
		switch {
		case f.LatestDeploymentID == "":
			o.advice = []string{"Upload its code: a deployment with activate=true."}
		case f.LatestDeploymentStatus == flint.DeploymentReady:
			o.advice = []string{fmt.Sprintf("Activate deployment %s, which is ready.", f.LatestDeploymentID)}
		default:
			o.why += fmt.Sprintf(" Its newest deployment %s is %s.", f.LatestDeploymentID, f.LatestDeploymentStatus)
			o.advice = []string{fmt.Sprintf("flint explain %s says how that build goes.", f.LatestDeploymentID)}
		}
		return o, nil
	}
	d, err := x.config.Store.Deployment(ctx, f.Project, f.ID, f.DeploymentID)
	if errors.Is(err, flint.ErrDeploymentNotFound) {
		return &obstacle{state: "no deployment", why: fmt.Sprintf("The function's active deployment %s is gone.", f.DeploymentID), advice: []string{"Activate another deployment."}}, nil
	}
	if err != nil {
		return nil, err
	}
	if d.Status != flint.DeploymentReady {
		return &obstacle{
			state: "not built", why: fmt.Sprintf("The function's active deployment %s is %s, not ready.", d.ID, d.Status),
			advice: []string{fmt.Sprintf("flint explain %s says more.", d.ID)},
		}, nil
	}
	return nil, nil //nolint:nilnil // nothing keeps it, and that is no error
}
