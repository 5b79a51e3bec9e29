// Package dd has the operands and the window arithmetic of `instar dd`: pure
// functions, which open nothing.
package dd
