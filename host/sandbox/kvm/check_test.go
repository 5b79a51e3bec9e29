//go:build linux && amd64

package kvm_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"instar/host/sandbox/kvm"
)

func TestSelfTest(t *testing.T) {
	requireKVM(t)
	start := time.Now()
	if err := kvm.SelfTest(context.Background()); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d > time.Second {
		t.Errorf("it took %v", d)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var unusable *kvm.UnusableError
	if err := kvm.SelfTest(ctx); err != nil && !errors.As(err, &unusable) {
		t.Errorf("got %T", err)
	}
}

func BenchmarkSelfTest(b *testing.B) {
	requireKVM(b)
	for b.Loop() {
		if err := kvm.SelfTest(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

// TestCheckProgram has programs that cannot be the guest.
func TestCheckProgram(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"/bin/sh":       "dynamically linked",
		script:          "not an ELF executable",
		"/no/such/file": "no such file",
	} {
		err := kvm.Check(name)
		var unusable *kvm.UnusableError
		if !errors.As(err, &unusable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want one that says %q", name, err, want)
		}
	}
}
