//go:build cover

package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"runtime/coverage"
	"slices"

	"instar/host/sandbox/jail"
	"instar/host/sandbox/kvm"
)

// count has a process behind a wall tell which statements it has run: a program
// that is built for test/cover counts them, and writes them to a file if it can.
func count() {
	if !slices.Contains([]string{kvm.VMMName, jail.Name}, os.Args[0]) {
		return
	}
	b := bytes.NewBuffer(make([]byte, 8)) // of the length
	if coverage.WriteCounters(b) != nil {
		return
	}
	binary.BigEndian.PutUint64(b.Bytes(), uint64(b.Len()-8))
	os.Stdout.Write(b.Bytes())
}
