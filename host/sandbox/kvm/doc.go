// Package kvm is the wall that is a microVM without an operating system: it
// runs the program's own static executable as a guest in ring 3 of a KVM
// virtual machine, and services the system calls of [instar/job/wall], and no
// others, from outside.
//
// Two processes take part. The one that the user started calls [Check] and
// [Command]; the child that Command prepares calls [Main], which builds the
// machine, locks itself in, and runs the guest. The child is the VMM in what
// follows.
//
// The guest has one address space, written by the VMM, in which nothing is
// both writable and executable. It has a virtual processor for each of its
// threads, descriptors that were granted to it, memory up to a limit, and a
// clock. SYSCALL takes it to the call page (see [callPage]), whose only
// business is to leave the machine.
package kvm
