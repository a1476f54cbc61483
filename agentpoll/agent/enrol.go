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
	if id.token.Secret == "" {
		return errors.New("the agent is not enrolled and has no enrolment token")
	}
	req := agentpoll.EnrollRequest{
		Token:          id.token.Secret,
		Kind:           a.cfg.Kind,
		CredentialHash: agentpoll.HashSecret(rec.Secret),
		PublicKey:      id.key.PublicKey().Bytes(),
		Version:        a.cfg.Version,
		Manifest:       a.cfg.Manifest,
	}
	var retry backoff
	for {
		reply, secure, err := enrolOnce(ctx, c, req)
		if err == nil {
			a.log.Info("enrolled", "agent_id", reply.AgentID)
			if err := id.enrolled(reply, secure); err != nil {
				return err
			}
			c.trust()
			return nil
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

func enrolOnce(ctx context.Context, c *client, req agentpoll.EnrollRequest) (reply agentpoll.EnrollReply, secure bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	a, err := c.call(ctx, "enroll", agentpoll.PathEnroll, req, &reply)
	if err != nil {
		return reply, false, err
	}
	if reply.AgentID == "" {
		return reply, false, &callError{call: "enroll", status: http.StatusOK, err: errors.New("the answer names no agent")}
	}
	return reply, a.secure, nil
}
