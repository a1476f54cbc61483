package api

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/objectives"
)

// eventView is one line of a timeline.
type eventView struct {
	ID      string `json:"id"`
	At      string `json:"at"`
	Kind    string `json:"kind"`
	Message string `json:"message"`
	Request string `json:"request_id,omitempty"`
}

// listEvents answers a page of the instance's timeline, the oldest first.
func (a *API) listEvents(r *request) (reply, error) {
	in, err := a.instance(r)
	if err != nil {
		return reply{}, err
	}
	from := etcdschema.Events(in.ID)
	records, next, err := readPage(a, r, from)
	if err != nil {
		return reply{}, err
	}
	views := []eventView{}
	for _, rec := range records {
		e := rec.Value
		views = append(views, eventView{from.Name(rec.Key), control.Stamp(e.At), e.Kind, e.Message, e.Request})
	}
	return reply{http.StatusOK, listBody("events", views, next)}, nil
}

// whyView answers: what is it doing, since when, waiting for whom, until when.
type whyView struct {
	Status      string              `json:"status"`
	Operation   string              `json:"operation,omitempty"`
	Step        string              `json:"step,omitempty"`
	Since       string              `json:"since,omitempty"`
	WaitingFor  string              `json:"waiting_for,omitempty"`
	Deadline    string              `json:"deadline,omitempty"`
	Progress    *agentpoll.Progress `json:"progress,omitempty"`
	Connected   bool                `json:"agent_connected"`
	Locked      string              `json:"agent_locked,omitempty"` // why it is refused
	LastContact string              `json:"last_agent_contact,omitempty"`
	Fault       string              `json:"fault,omitempty"`
	Summary     string              `json:"summary"`
}

func (a *API) why(r *request) (reply, error) {
	in, err := a.instance(r)
	if err != nil {
		return reply{}, err
	}
	in = a.Control.Observed(r.ctx, in)[0]
	v := whyView{Status: lifecycle.Status(in)}
	if in.Fault != nil {
		v.Fault = in.Fault.Message
	}
	agent := in.ID
	if op := in.Doing(); op != nil {
		agent = op.Agent
		v.Operation, v.Step, v.Since, v.Deadline, v.Progress = op.Kind, op.Step, control.Stamp(op.Since), control.Stamp(op.Deadline), op.Progress
		switch agent {
		case in.ID:
			v.WaitingFor = "the guest"
		case in.Host:
			v.WaitingFor = "the host " + in.Host
		default:
			v.WaitingFor = "the guest of instance " + agent
		}
	}
	asked, err := a.Objectives.Asked(r.ctx, in.Project, in.ID)
	if err != nil {
		return reply{}, err
	}
	seen, err := a.Control.Contact(r.ctx, agent)
	if err != nil {
		return reply{}, err
	}
	v.Connected, v.Locked = seen.Connected, seen.Locked
	if !seen.Last.IsZero() {
		v.LastContact = control.Stamp(seen.Last)
	}
	v.Summary = strings.Join(append([]string{summary(v, in)}, objectives.Why(asked)...), " ")
	return reply{http.StatusOK, map[string]any{"why": v}}, nil
}

func summary(v whyView, in lifecycle.Member) string {
	if v.Locked != "" {
		own := v
		own.Locked = ""
		return summary(own, in) + " The agent is locked: " + v.Locked + ". An operator has to find the copy of its identity, then to unlock it."
	}
	if v.Operation == "" {
		words := []string{"Nothing is being done."}
		switch {
		case v.Fault != "" && (v.Status == lifecycle.StatusError || v.Status == lifecycle.StatusRestartRequired):
			words = append(words, sentence(v.Fault))
		case in.Service.Message != "" && in.Service.Service != datastores.StatusHealthy:
			words = append(words, sentence(fmt.Sprintf("The database server is %s: %s", in.Service.Service, in.Service.Message)))
		}
		if in.Service.Warning != "" {
			words = append(words, in.Service.Warning)
		}
		if next := lifecycle.Next(in); next != "" && in.Failed != control.Absent {
			words = append(words, next)
		}
		return strings.Join(words, " ")
	}
	contact := "is connected"
	if !v.Connected {
		contact = "is not connected"
		if v.LastContact != "" {
			contact += ", last heard of at " + v.LastContact
		}
	}
	return fmt.Sprintf("%s is at step %q since %s, waiting for %s, which %s; it gives up at %s.",
		v.Operation, v.Step, v.Since, v.WaitingFor, contact, v.Deadline)
}

// sentence ends what is to be followed by another sentence.
func sentence(text string) string {
	if strings.HasSuffix(text, ".") {
		return text
	}
	return text + "."
}
