package main

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

// buffer is what "buf" stands for in a raw call.
var buffer [1 << 16]byte

// rawCall makes the system call that text says, number and arguments, and
// answers with its result and error number.
func rawCall(text string, fds map[int]int) string {
	var a [7]uintptr
	for i, word := range strings.Fields(text) {
		v, err := argument(word, fds)
		if err != nil || i >= len(a) {
			return fmt.Sprintf("bad argument %q", word)
		}
		a[i] = v
	}
	r, _, errno := syscall.RawSyscall6(a[0], a[1], a[2], a[3], a[4], a[5], a[6])
	if errno != 0 {
		return errno.Error()
	}
	return strconv.FormatInt(int64(r), 10)
}

func argument(word string, fds map[int]int) (uintptr, error) {
	switch name, rest, _ := strings.Cut(word, "+"); name {
	case "buf":
		offset, _ := strconv.ParseUint(rest, 0, 64)
		return uintptr(unsafe.Pointer(&buffer)) + uintptr(offset), nil
	case "text":
		return textAddress, nil
	case "nowhere":
		return 0x1234_5678_9000, nil
	case "kernel":
		return kernelAddress, nil
	case "fd":
		id, err := strconv.Atoi(rest)
		return uintptr(fds[id]), err
	}
	v, err := strconv.ParseInt(word, 0, 64)
	if err != nil {
		u, err := strconv.ParseUint(word, 0, 64)
		return uintptr(u), err
	}
	return uintptr(v), nil
}
