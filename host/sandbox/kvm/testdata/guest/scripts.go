package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
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

func init() {
	maps.Copy(scripts, map[string]func(map[int]int) string{
		"spin":        func(map[int]int) string { spin(); return "" },
		"memory":      func(map[int]int) string { return exhaust() },
		"thread bomb": func(map[int]int) string { return bomb() },
		"panic":       func(map[int]int) string { panic("as the script says\x1b[31m") },
		"nil":         func(map[int]int) string { load(8); return "" },
		"exit":        func(map[int]int) string { os.Exit(7); return "" },
		"give back":   func(map[int]int) string { return giveBack() },
		"thread exit": func(map[int]int) string { return threadExit() },
		"clock":       func(map[int]int) string { return clock() },
	})
}

// exhaust takes memory until there is none.
func exhaust() string {
	var all [][]byte
	for {
		b := make([]byte, 4<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		all = append(all, b)
		if len(all) > 1<<16 {
			return fmt.Sprintf("took %d pieces", len(all))
		}
	}
}

// bomb makes threads until it may not, and tells how many system calls were
// refused.
func bomb() string {
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			runtime.LockOSThread()
			time.Sleep(time.Hour)
		})
	}
	wg.Wait()
	return "no limit"
}

// giveBack touches memory, frees it, and has it given back.
func giveBack() string {
	for range 4 {
		b := make([]byte, 64<<20)
		for i := 0; i < len(b); i += 4096 {
			if b[i] != 0 {
				return "memory was not zero"
			}
			b[i] = 1
		}
		b = nil
		debug.FreeOSMemory()
	}
	return ""
}

// threadExit ends threads and starts others.
func threadExit() string {
	for range 200 {
		done := make(chan bool)
		go func() {
			runtime.LockOSThread() // without unlock: the thread ends too
			done <- true
		}()
		<-done
	}
	return ""
}

// clock looks whether time goes on steadily on all threads.
func clock() string {
	var wg sync.WaitGroup
	var bad atomic.Int64
	var last atomic.Int64
	start := time.Now()
	for range 4 {
		wg.Go(func() {
			for range 20000 {
				seen := last.Load()
				t := int64(time.Since(start))
				if t < seen {
					bad.Add(1)
				}
				last.Store(max(t, last.Load()))
			}
		})
	}
	wg.Wait()
	return fmt.Sprintf("%d %d %d", bad.Load(), time.Since(start), time.Now().UnixNano())
}

func init() {
	scripts["exits"] = func(map[int]int) string {
		const n = 20000
		start := time.Now()
		for range n {
			syscall.RawSyscall(syscall.SYS_GETTID, 0, 0, 0)
		}
		return fmt.Sprint(time.Since(start).Nanoseconds() / n)
	}
	scripts["copy"] = copyAll
	scripts["offload"] = offload
}

const copyPiece = 2 << 20

// copyAll copies what was granted first to what was granted second, through
// the guest's memory, and answers with the microseconds that it took.
func copyAll(fds map[int]int) string {
	size, _ := syscall.Seek(fds[0], 0, io.SeekEnd)
	start := time.Now()
	var next atomic.Int64
	var wg sync.WaitGroup
	var failure atomic.Value
	for range 2 {
		wg.Go(func() {
			b := make([]byte, copyPiece)
			for {
				offset := next.Add(copyPiece) - copyPiece
				if offset >= size {
					return
				}
				n, err := syscall.Pread(fds[0], b, offset)
				if err == nil {
					_, err = syscall.Pwrite(fds[1], b[:n], offset)
				}
				if err != nil {
					failure.Store(err.Error())
					return
				}
			}
		})
	}
	wg.Wait()
	if f := failure.Load(); f != nil {
		return f.(string)
	}
	return fmt.Sprint(time.Since(start).Microseconds())
}

// offload copies likewise, by copy_file_range.
func offload(fds map[int]int) string {
	size, _ := syscall.Seek(fds[0], 0, io.SeekEnd)
	start := time.Now()
	var in, out int64
	for in < size {
		n, err := unix.CopyFileRange(fds[0], &in, fds[1], &out, int(min(size-in, 64<<20)), 0)
		if err != nil || n == 0 {
			return fmt.Sprint(n, err)
		}
	}
	return fmt.Sprint(time.Since(start).Microseconds())
}
