package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/cofferdb/coffer/agentpoll"
)

// enrol asks until the gateway has answered. The identity is on disk already, so that the same request can be repeated
// whenever the answer is lost, even after a restart.
func (a *Agent) enrol(ctx context.Context, id *identity, c *client) error {
	rec := id.record()
	if rec.AgentID != "" {
		return nil
	}
	if a.cfg.Token == "" {
		return errors.New("the agent is not enrolled and has no enrolment token")
	}
	req := agentpoll.EnrollRequest{
		Token:          a.cfg.Token,
		Kind:           a.cfg.Kind,
		CredentialHash: agentpoll.HashSecret(rec.Secret),
		PublicKey:      id.key.PublicKey().Bytes(),
		Version:        a.cfg.Version,
		Manifest:       a.cfg.Manifest,
	}
	var retry backoff
	for {
		reply, err := enrolOnce(ctx, c, req)
		if err == nil {
			a.log.Info("enrolled", "agent_id", reply.AgentID)
			return id.enrolled(reply)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("not enrolled: %w", context.Cause(ctx))
		}
		wait := retry.next(err)
		if statusOf(err) == http.StatusUnauthorized {
			a.log.Error("the enrolment token is unknown, expired, or was used by another agent; start with a new one",
				"retry_in", wait, "err", err)
		} else {
			a.log.Warn("cannot enrol yet", "retry_in", wait, "err", err)
		}
		sleep(ctx, wait)
	}
}

func enrolOnce(ctx context.Context, c *client, req agentpoll.EnrollRequest) (reply agentpoll.EnrollReply, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err = c.call(ctx, "enroll", agentpoll.PathEnroll, req, &reply); err != nil {
		return reply, err
	}
	if reply.AgentID == "" {
		return reply, &callError{call: "enroll", status: http.StatusOK, err: errors.New("the answer names no agent")}
	}
	return reply, nil
}
