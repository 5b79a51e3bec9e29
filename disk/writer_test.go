package disk

import "testing"

func TestDerive(t *testing.T) {
	a, b := WriterOptions{Seed: [32]byte{1}}, WriterOptions{Seed: [32]byte{2}}
	if again := (WriterOptions{Seed: a.Seed}); again.Derive("x") != a.Derive("x") {
		t.Error("not the same twice")
	}
	if a.Derive("x") == a.Derive("y") || a.Derive("x") == b.Derive("x") {
		t.Error("the same for another name or seed")
	}
	if id := a.UUID("x"); id[6]>>4 != 4 || id[8]>>6 != 2 {
		t.Errorf("%x is no UUID of version 4", id)
	}
}
