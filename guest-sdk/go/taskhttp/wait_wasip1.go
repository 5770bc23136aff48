package taskhttp

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	clock "github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/wit/imports/wasi_clocks_monotonic_clock"
	poll "github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/wit/imports/wasi_io_poll"
	wit "github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/wit/runtime"
)

// The longest that goroutines wait for the poller, in which nothing but the host
// is at work: their own timers are late by no more. It begins with the shortest.
const (
	shortestPoll = time.Millisecond
	longestPoll  = 100 * time.Millisecond
)

var (
	// host is held during each call of the host that answers with a list, until
	// the answer is taken over, and guards what is below.
	host sync.Mutex
	// waiters are the goroutines that wait for the host.
	waiters []*waiter
	// polling says whether pollWaiters is at work.
	polling bool
)

type waiter struct {
	ready *poll.Pollable
	done  chan struct{}
}

// ask calls the host, with room for its answer.
func ask[T any](call func() T) T {
	host.Lock()
	defer host.Unlock()
	wit.Unpin()
	return call()
}

// wait waits until ready is, or ctx is done; other goroutines go on.
func wait(ctx context.Context, ready *poll.Pollable) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := &waiter{ready, make(chan struct{})}
	host.Lock()
	if ready.Ready() {
		host.Unlock()
		return nil
	}
	waiters = append(waiters, w)
	if !polling {
		polling = true
		go pollWaiters()
	}
	host.Unlock()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		host.Lock()
		defer host.Unlock()
		waiters = slices.DeleteFunc(waiters, func(other *waiter) bool { return other == w })
		return ctx.Err()
	}
}

// pollWaiters asks the host which waiters are ready, for as long as there are
// any. Meanwhile the whole instance waits, so it first lets every goroutine go on
// that can, and never waits for long: for what else goroutines wait, the host
// does not know.
func pollWaiters() {
	limit := shortestPoll
	for {
		runtime.Gosched()
		host.Lock()
		if len(waiters) == 0 {
			polling = false
			host.Unlock()
			return
		}
		timer := clock.SubscribeDuration(uint64(limit))
		pollables := []*poll.Pollable{timer}
		for _, w := range waiters {
			pollables = append(pollables, w.ready)
		}
		wit.Reserve(uintptr(4 * len(pollables)))
		ready := poll.Poll(pollables)
		timer.Drop()
		limit = min(2*limit, longestPoll)
		waiting := waiters[:0:0]
		for i, w := range waiters {
			if slices.Contains(ready, uint32(i+1)) {
				close(w.done)
				limit = shortestPoll
			} else {
				waiting = append(waiting, w)
			}
		}
		waiters = waiting
		host.Unlock()
	}
}
