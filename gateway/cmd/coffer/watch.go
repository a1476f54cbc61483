package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
)

// watcher is shown what happens to an instance.
type watcher interface {
	event(dbext.Event)
	state(dbext.Why) // at every look
	end()            // once
}

// lastEvent is the marker of an instance's latest event; "" when there is none.
func lastEvent(ctx context.Context, c *gophercloud.ServiceClient, id string) (string, error) {
	all, err := dbext.ListEvents(ctx, c, id, "")
	if err != nil || len(all) == 0 {
		return "", err
	}
	return all[len(all)-1].ID, nil
}

// follow shows an instance's events after marker until nothing is being done to it any more. It fails when the operation
// did. An instance that vanishes has ended well when it was to be deleted, then or in the end.
func (a *app) follow(ctx context.Context, c *gophercloud.ServiceClient, id, marker, operation string, w watcher) error {
	defer w.end()
	asked := operation
	tick := time.NewTicker(a.poll)
	defer tick.Stop()
	for {
		why, err := a.look(ctx, c, id, &marker, w)
		switch {
		case gophercloud.ResponseCodeIs(err, http.StatusNotFound) && (operation == "delete" || asked == "delete"):
			w.event(dbext.Event{At: dbext.Time{Time: time.Now()}, Kind: "done", Message: "the instance has been deleted"})
			return nil
		case err != nil && !transient(err):
			return err
		case err == nil && why.Operation == "" && why.Status == "ERROR":
			return fmt.Errorf("%s failed: %s", operation, why.Fault)
		case err == nil && why.Operation == "" && asked == "delete":
			return fmt.Errorf("the instance was not deleted: %s", cmp.Or(why.Fault, why.Summary))
		case err == nil && why.Operation == "":
			return nil
		case err == nil:
			operation = why.Operation
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// transient reports whether a gateway's failure may pass: one that is restarted must not end the watching.
func transient(err error) bool {
	code, _ := explain(err)
	return code == exitUnavailable
}

// look shows what is new. The state is read first: when nothing is being done by then, the events that follow are all.
func (a *app) look(ctx context.Context, c *gophercloud.ServiceClient, id string, marker *string, w watcher) (dbext.Why, error) {
	why, err := dbext.GetWhy(ctx, c, id)
	if err != nil {
		return why, err
	}
	events, err := dbext.ListEvents(ctx, c, id, *marker)
	if err != nil {
		return why, err
	}
	for _, e := range events {
		w.event(e)
		*marker = e.ID
	}
	if why.Operation != "" {
		w.state(why)
	}
	return why, nil
}

func (a *app) watch(ctx context.Context, c *gophercloud.ServiceClient, args []string) error {
	id, err := findInstance(ctx, c, args[0])
	if err != nil {
		return err
	}
	why, err := dbext.GetWhy(ctx, c, id)
	if err != nil {
		return err
	}
	var w watcher = a.progress(a.out)
	if a.output == "json" {
		w = jsonWatcher{json.NewEncoder(a.out)}
	}
	return a.follow(ctx, c, id, "", why.Operation, w)
}

// progress is the watcher for w: a bar on a terminal, plain lines elsewhere.
func (a *app) progress(w io.Writer) watcher {
	if width, ok := onTerminal(w); ok {
		return &bar{w: w, width: width, now: time.Now}
	}
	return &lines{w: w}
}

// jsonWatcher writes a JSON object for each event, one a line.
type jsonWatcher struct{ *json.Encoder }

func (j jsonWatcher) event(e dbext.Event) { _ = j.Encode(e) }
func (jsonWatcher) state(dbext.Why)       {}
func (jsonWatcher) end()                  {}

// lines writes a line for each event, among them what agents say of their progress, and for each step that is found to
// be waited for.
type lines struct {
	w    io.Writer
	step string // the last one told
}

func (l *lines) event(e dbext.Event) {
	l.write(e.At.Time, e.Kind, e.Message)
}

func (l *lines) state(why dbext.Why) {
	if why.Step != l.step {
		l.step = why.Step
		l.write(why.Since.Time, "waiting", fmt.Sprintf("for %s at step %s, until %s", why.WaitingFor, why.Step, why.Deadline.Format(time.TimeOnly)))
	}
}

func (l *lines) end() {}

func (l *lines) write(at time.Time, kind, message string) {
	fmt.Fprintf(l.w, "%s  %-8s  %s\n", at.Format(time.TimeOnly), plain(kind), plain(message))
}

// bar writes events as lines, and below them, in place, what an agent says of its progress.
type bar struct {
	w     io.Writer
	width int
	now   func() time.Time
	shown bool
	turns int
}

// barWidth is the part of the line that fills up.
const barWidth = 20

func (b *bar) event(e dbext.Event) {
	b.clear()
	if e.Kind != "progress" {
		(&lines{w: b.w}).event(e)
	}
}

func (b *bar) state(why dbext.Why) {
	b.clear()
	b.turns++
	text := strings.ReplaceAll(plain(b.render(why)), "\n", " ")
	if cut := []rune(text); len(cut) >= b.width {
		text = string(cut[:b.width-1])
	}
	fmt.Fprint(b.w, text)
	b.shown = true
}

func (b *bar) end() { b.clear() }

func (b *bar) clear() {
	if b.shown {
		fmt.Fprint(b.w, "\r\x1b[K")
	}
	b.shown = false
}

// render is such as "[######>       ]  42%  preparing: installing packages  12s of 10m0s".
func (b *bar) render(why dbext.Why) string {
	percent, doing := "    ", "waiting for "+why.WaitingFor
	filled := -1
	if p := why.Progress; p != nil {
		if p.Message != "" {
			doing = p.Message
		}
		if p.Total > 0 {
			done := min(p.Done, p.Total)
			percent = fmt.Sprintf("%3d%%", done*100/p.Total)
			filled = int(done * barWidth / p.Total)
		}
	}
	spent := b.now().Sub(why.Since.Time).Round(time.Second)
	given := why.Deadline.Sub(why.Since.Time).Round(time.Second)
	return fmt.Sprintf("[%s] %s  %s: %s  %s of %s", b.fill(filled), percent, why.Step, doing, max(0, spent), given)
}

// fill draws the bar; one of unknown length, -1, has a mark that moves.
func (b *bar) fill(filled int) string {
	if filled < 0 {
		at := b.turns % barWidth
		return strings.Repeat(" ", at) + ">" + strings.Repeat(" ", barWidth-1-at)
	}
	return strings.Repeat("#", filled) + strings.Repeat(" ", barWidth-filled)
}
