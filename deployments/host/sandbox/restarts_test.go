package sandbox

import (
	"testing"
	"time"
)

func TestRestarts(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var r Restarts
	if r.Due().After(now) {
		t.Fatal("the first start is not due")
	}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60} {
		r.Started(now)
		if delay := want * time.Second; !r.Due().Equal(now.Add(delay)) {
			t.Errorf("start %d is not due after exactly %v", r.inARow+1, delay)
		}
		now = now.Add(want * time.Second)
	}
	now = now.Add(time.Hour)
	r.Started(now)
	if r.Due().After(now.Add(time.Second)) {
		t.Error("an hour of peace did not start the count again")
	}
}
