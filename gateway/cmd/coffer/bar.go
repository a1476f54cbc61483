package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
)

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
