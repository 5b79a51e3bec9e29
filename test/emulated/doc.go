// Package emulated tries the microVM on a processor with AMD-V: one that QEMU
// emulates instruction by instruction, so that it runs anywhere. Its test
// boots Debian's cloud kernel in such a machine, loads KVM into it, and runs
// the program and its hostile workers there.
//
// There SYSCALL takes a guest to ring 0, as it does on all hardware with
// virtualization; a KVM that works on page tables alone, as one finds in
// rented machines, leaves it in ring 3. Whoever tests on the one kind has the
// other one here. What QEMU cannot emulate is Intel's VMX. KVM hides all but
// the entry and the exit of the two from the VMM, and nothing in the VMM asks
// which it is.
//
// The test takes a few minutes, and is skipped unless INSTAR_EMULATED is set:
// make emulated.
package emulated
