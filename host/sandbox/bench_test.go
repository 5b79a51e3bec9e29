package sandbox

import (
	"context"
	"errors"
	"testing"
)

// BenchmarkStart is what a wall costs before any work: to start a worker and to
// end it.
func BenchmarkStart(b *testing.B) {
	for _, wall := range []Wall{None, Jail, KVM} {
		b.Run(string(wall), func(b *testing.B) {
			for b.Loop() {
				w, err := Start(context.Background(), Options{Wall: wall})
				var u *UnavailableError
				if errors.As(err, &u) {
					b.Skip(err)
				}
				if err != nil {
					b.Fatal(err)
				}
				w.Close()
			}
		})
	}
}
