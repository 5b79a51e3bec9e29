// Package attack tries the walls from inside: its test is a worker that was
// taken over completely, behind each wall that this machine has.
package attack
