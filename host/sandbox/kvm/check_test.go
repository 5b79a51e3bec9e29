//go:build linux && amd64

package kvm_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"instar/host/sandbox/kvm"
)

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
