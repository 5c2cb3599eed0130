package direct

import (
	"context"
	"sync"
)

// queue hands over what has gathered, all at once: while one transaction runs,
// the next fills.
type queue[T any] struct {
	mu    sync.Mutex
	items []T           // guarded by mu
	some  chan struct{} // holds a token while items may not be empty
}

func newQueue[T any]() *queue[T] { return &queue[T]{some: make(chan struct{}, 1)} }

func (q *queue[T]) put(item T) {
	q.mu.Lock()
	q.items = append(q.items, item)
	q.mu.Unlock()
	select {
	case q.some <- struct{}{}:
	default:
	}
}

func (q *queue[T]) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items)
}

// take returns at most most items without waiting.
func (q *queue[T]) take(most int) []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(most, len(q.items))
	taken := q.items[:n:n]
	q.items = q.items[n:]
	if len(q.items) > 0 {
		select {
		case q.some <- struct{}{}:
		default:
		}
	} else {
		q.items = nil
	}
	return taken
}

// wait returns at most most items as soon as there are some; none when ctx ends.
func (q *queue[T]) wait(ctx context.Context, most int) []T {
	for ctx.Err() == nil {
		if items := q.take(most); len(items) > 0 {
			return items
		}
		select {
		case <-q.some:
		case <-ctx.Done():
		}
	}
	return nil
}
