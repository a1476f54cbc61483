package gateway

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// However many ask, etcd is asked once a second, and its recovery is seen within one.
func TestReadinessIsCheap(t *testing.T) {
	var r readiness
	var asked atomic.Int64
	var answer error
	check := func() error {
		asked.Add(1)
		return answer
	}
	now := time.Now()
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if err := r.ask(now, check); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("100 requests asked etcd %d times", n)
	}
	answer = errors.New("gone")
	if err := r.ask(now.Add(readyFor/2), check); err != nil {
		t.Errorf("within a second: %v", err)
	}
	if err := r.ask(now.Add(readyFor), check); err == nil {
		t.Error("after a second etcd is not asked again")
	}
	answer = nil
	if err := r.ask(now.Add(2*readyFor), check); err != nil {
		t.Errorf("etcd is back: %v", err)
	}
}
