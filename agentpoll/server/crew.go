package server

import "sync"

// crewMax bounds how many answers are written at once, and so how many peers that do not read can be in the way.
const crewMax = 64

// crew runs tasks in order of arrival, by goroutines that exist only while there is something to do.
type crew struct {
	mu      sync.Mutex
	idle    *sync.Cond // workers is 0
	tasks   []func()
	workers int
}

func newCrew() *crew {
	c := &crew{}
	c.idle = sync.NewCond(&c.mu)
	return c
}

// do runs the task soon. It does not wait.
func (c *crew) do(task func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tasks = append(c.tasks, task)
	if c.workers < crewMax {
		c.workers++
		go c.work()
	}
}

func (c *crew) work() {
	for {
		c.mu.Lock()
		if len(c.tasks) == 0 {
			c.tasks = nil // after a storm its memory is not kept
			if c.workers--; c.workers == 0 {
				c.idle.Broadcast()
			}
			c.mu.Unlock()
			return
		}
		task := c.tasks[0]
		c.tasks[0] = nil
		c.tasks = c.tasks[1:]
		c.mu.Unlock()
		task()
	}
}

// wait returns when everything that was given to do is done.
func (c *crew) wait() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.workers > 0 {
		c.idle.Wait()
	}
}
