//go:build !cover

package main

// count does nothing but in a program that is built for test/cover.
func count() {}
