package explain

import (
	"context"
	"fmt"
	"time"

	"flint"
)

// deployment says how a build goes, or went.
func (x *Explainer) deployment(ctx context.Context, project flint.ProjectID, id string) (*flint.Explanation, error) {
	d, err := x.config.Store.DeploymentByID(ctx, project, flint.DeploymentID(id))
	if err != nil {
		return nil, err
	}
	f, err := x.config.Store.Function(ctx, project, d.Function)
	if err != nil {
		return nil, err
	}
	e := &flint.Explanation{
		Kind: "deployment", ID: id, Function: d.Function, State: string(d.Status), Since: d.UpdatedAt,
		History: []flint.Moment{{At: d.CreatedAt, What: fmt.Sprintf("The source arrived (%d bytes, %s).", d.SourceSize, d.Type)}},
	}
	if !d.BuildStartedAt.IsZero() {
		e.History = append(e.History, flint.Moment{At: d.BuildStartedAt, What: "The build began."})
	}
	took := round(time.Duration(d.BuildDuration) * time.Second)
	switch d.Status {
	case flint.DeploymentWaiting:
		return e, x.waitingBuild(ctx, d, e)
	case flint.DeploymentProcessing, flint.DeploymentBuilding:
		e.Summary = fmt.Sprintf("The build has been running for %s. The last line of its log: %q", round(time.Since(d.BuildStartedAt)), lastLine(d.BuildLogs))
		e.WaitingFor = "its commands: " + orNone(d.Commands)
		e.Next = "It becomes ready, or fails with the reason as the last line of its log; at the latest when the time for builds is over (--build-timeout)."
		e.Advice = []string{"Cancel it if it hangs: the deployment's status endpoint does that."}
	case flint.DeploymentReady:
		e.Summary = fmt.Sprintf("The build succeeded after %s.", took)
		if f.DeploymentID == d.ID {
			e.Summary += " It is the active deployment: calls go to it."
		} else {
			e.Summary += " It is not the active deployment: calls go to " + orNone(string(f.DeploymentID)) + "."
			e.Advice = []string{"Activate it to have calls go to it."}
		}
	case flint.DeploymentFailed:
		e.Summary = fmt.Sprintf("The build failed after %s. The end of its log: %q", took, lastLine(d.BuildLogs))
		e.Advice = []string{"Read the whole log (buildLogs of the deployment), mend the code or the commands, and deploy again."}
		if f.DeploymentID != "" {
			e.Advice = append(e.Advice, fmt.Sprintf("Nothing is down: calls still go to deployment %s.", f.DeploymentID))
		}
	case flint.DeploymentCanceled:
		e.Summary = "Somebody canceled the build."
		e.Advice = []string{"Deploy again when it is wanted after all."}
	}
	if d.Status.Final() {
		e.History = append(e.History, flint.Moment{At: d.UpdatedAt, What: "It ended as " + string(d.Status) + "."})
	}
	return e, nil
}

func (x *Explainer) waitingBuild(ctx context.Context, d *flint.Deployment, e *flint.Explanation) error {
	if d.SourceDigest == "" {
		e.Summary = "The source has not arrived completely: parts of the upload are missing."
		e.WaitingFor = "the remaining parts"
		e.Next = "The build is queued with the last part. An upload that nobody goes on with is given up."
		return nil
	}
	ahead, err := x.config.Store.BuildsAhead(ctx, d)
	if err != nil {
		return err
	}
	e.Summary = fmt.Sprintf("The build waits in the queue, with %s before it.", count(ahead, "build"))
	e.WaitingFor = "a free builder"
	e.Next = "A builder takes it as soon as those before it have ended."
	return nil
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
