// Package dd has the operands and the window arithmetic of `instar dd`, which
// are those of `qemu-img dd`: pure functions, which open nothing.
package dd
