package lifecycle

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/lifecycle.md anew")

// TestLifecycleDocument holds docs/lifecycle.md against the tables.
func TestLifecycleDocument(t *testing.T) {
	const file = "../../docs/lifecycle.md"
	want := document(t)
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != want {
		t.Errorf("%s is not what the tables say; write it anew with: go test ./gateway/lifecycle -run TestLifecycleDocument -update", file)
	}
}

func document(t *testing.T) string {
	var b strings.Builder
	b.WriteString(`# The life of an instance

<!-- Generated from gateway/lifecycle by a test: go test ./gateway/lifecycle -run TestLifecycleDocument -update -->

An operation goes through steps. Each step waits for one actor, has a deadline, and ends with an event: its command is done or has
failed, or its deadline has passed. The event, the next step and the next command are one transaction. Words are explained in
[glossary.md](glossary.md), what clients can ask for in which state is in [states.md](states.md), and who holds what meanwhile in
[walks.md](walks.md).

## Operations

| operation | what is asked for | event | status meanwhile | beside it the server can be used | begins with |
|---|---|---|---|---|---|
`)
	for _, op := range standard().operations {
		does := op.Does
		if op.Method != "" {
			does = "its guest to " + does
		}
		fmt.Fprintf(&b, "| %s | %s | `%s` | %s | %s | %s |\n", op.Kind, does, op.Ask(), cmp.Or(op.Status, "as before"), yes(op.Harmless), list(op.rows()[0].Next))
	}
	b.WriteString("\n## Steps\n\nProgress gives time to a step that moves data or packages: it may go on for as long as it is heard of.\n\n" +
		"| step | whose turn | what is done | command | may take | progress gives time |\n|---|---|---|---|---|---|\n")
	for _, row := range standard().steps[1:] {
		limit := row.limit().String()
		if row.Step == Preparing || row.Step == Enrolling {
			limit = "the datastore's `usage_timeout`"
		}
		method := "none"
		if row.Method != "" {
			method = "`" + row.Method + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", row.Step, whose(row.Actor), row.Does, method, limit, yes(row.Progress))
	}
	b.WriteString("\n## What follows\n\nAn arrow is a step that may follow when the one before was done, a dotted one when it failed or was overdue. Every step can be given up " +
		"with `reset_status`, and left for `remove` when the instance is deleted.\n\n```mermaid\nflowchart LR\n")
	edges := map[string]bool{}
	for _, row := range standard().rows {
		arrow := map[EventType]string{Done: "-->", Enrolled: "-->", Failed: "-.->", Overdue: "-.->"}[row.Event]
		for _, next := range row.Next {
			edge := fmt.Sprintf("  %s %s %s\n", node(row.Step), arrow, node(next))
			if arrow != "" && next != Idle && next != row.Step && !edges[edge] {
				edges[edge] = true
				b.WriteString(edge)
			}
		}
	}
	b.WriteString("```\n\nWhat follows each event; *ends* is the end of the operation, well or with a fault.\n\n| step | done | failed | overdue | enrolled |\n|---|---|---|---|---|\n")
	for _, row := range standard().steps[1:] {
		fmt.Fprintf(&b, "| %s |", row.Step)
		for _, event := range []EventType{Done, Failed, Overdue, Enrolled} {
			fmt.Fprintf(&b, " %s |", follows(row.Step, event))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n## Events\n\n| event | what happened |\n|---|---|\n")
	words := map[EventType]string{
		Created: "a tenant asked for the instance", Enrolled: "its guest has enrolled", Done: "the command that the step waits for ended well",
		Failed: "it ended with an error", Overdue: "the step's deadline has passed", ResetStatus: "somebody gave up on the operation",
		Reported: "the guest told how the server is",
	}
	for _, event := range EventTypes() {
		what := words[event]
		if op, ok := strings.CutPrefix(string(event), "ask_"); ok {
			what = "somebody asked for the operation " + op
		}
		if what == "" {
			t.Errorf("the event %s has no words", event)
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", event, what)
	}
	documentSets(&b)
	documentClusters(&b)
	return b.String()
}

// documentSets writes the tables of sets.
func documentSets(b *strings.Builder) {
	b.WriteString(`
## Sets

A source with its replicas is a set, with a record of its own and at most one operation, which touches several members. One of them leads it:
its timeline and fault tell of it, and its ` + "`reset_status`" + ` gives it up. While the operation touches a member, that one can begin none of its
own. A member that follows for it does so by an operation of its own, at step ` + "`follow`" + ` above.

| operation | what is asked for | status of those that it touches | begins with |
|---|---|---|---|
`)
	for _, op := range standard().setOperations {
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", op.Kind, op.Does, op.Status, list(op.rows()[0].Next))
	}
	b.WriteString("\n| step | whose turn | what is done | command | may take | done | failed | overdue |\n|---|---|---|---|---|---|---|---|\n")
	for _, row := range standard().setSteps {
		method := "none"
		if row.Method != "" {
			method = "`" + row.Method + "`"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |", row.Step, cmp.Or(whose(row.Actor), "members"), row.Does, method, row.limit())
		for _, event := range []EventType{Done, Failed, Overdue} {
			fmt.Fprintf(b, " %s |", followsIn(standard().setRows, row.Step, event))
		}
		b.WriteString("\n")
	}
}

// documentClusters writes the tables of clusters.
func documentClusters(b *strings.Builder) {
	b.WriteString(`
## Clusters

A cluster is a set, too. Its record says where each member stands: it is being made, is outside, in, leaving, has left; what is next follows from that.
In every step but settle members have operations of their own, in their turn: create, join, leave, delete, or what was asked of all of them.

| operation | what is asked for | status of members | begins with |
|---|---|---|---|
`)
	for _, op := range standard().clusterOperations {
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", op.Kind, op.Does, op.Status, list(op.rows()[0].Next))
	}
	b.WriteString("\n| step | what is done | command |\n|---|---|---|\n")
	for _, row := range standard().clusterSteps {
		fmt.Fprintf(b, "| %s | %s | %s |\n", row.Step, row.Does, cmp.Or(row.Method, "none"))
	}
}

// follows says where an event leads from a step.
func follows(step Step, event EventType) string { return followsIn(standard().rows, step, event) }

func followsIn(rows []Row, step Step, event EventType) string {
	for _, row := range rows {
		if row.Step == step && row.Event == event {
			return cmp.Or(list(row.Next), "*the instance is gone*")
		}
	}
	return ""
}

func list(steps []Step) string {
	var words []string
	for _, s := range steps {
		words = append(words, cmp.Or(string(s), "*ends*"))
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}

func node(s Step) string {
	return fmt.Sprintf("%s[%s]", strings.ReplaceAll(string(s), " ", "_"), s)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

func whose(a Actor) string {
	switch a {
	case VoterGuest:
		return "guest of a member"
	case LeadGuest:
		return "guest of the replica"
	}
	return strings.TrimPrefix(string(a), "the ")
}
