package main

import (
	"crypto/sha256"
	"fmt"
	"runtime"
	"sync"
	"time"
)

var scripts = map[string]func(fds map[int]int) string{
	"hello": func(map[int]int) string { return "hello" },
	"work":  work,
}

// work keeps goroutines, the garbage collector and timers busy.
func work(map[int]int) string {
	var wg sync.WaitGroup
	sums := make([][32]byte, 8)
	for i := range sums {
		wg.Go(func() {
			var keep [][]byte
			for j := range 50 {
				b := make([]byte, 100<<10)
				b[j] = byte(i)
				keep = append(keep[max(0, len(keep)-5):], b)
				sums[i] = sha256.Sum256(b)
			}
		})
	}
	wg.Wait()
	runtime.GC()
	t := time.Now()
	time.Sleep(5 * time.Millisecond)
	if d := time.Since(t); d < 5*time.Millisecond || d > 2*time.Second {
		return fmt.Sprintf("slept %v", d)
	}
	return fmt.Sprintf("%x", sums[7][:4])
}
