//go:build linux && amd64

package kvm

const (
	pageSize  = 4 << 10
	blockSize = 2 << 20 // what one entry of a page directory can map
)

// Guest-physical addresses. What lies between the regions has no memory behind
// it; the doorbells are there on purpose.
const (
	systemPhysical = 0       // page tables and the guest's special pages
	imagePhysical  = 1 << 30 // the executable file, read-only
	maxImage       = 1 << 30
	bellPhysical   = 0xd000_0000 // a store here leaves the machine: a system call
	faultPhysical  = 0xd000_1000 // a store here leaves the machine: a fault
	ramPhysical    = 4 << 30
)

// Guest-virtual addresses.
const (
	// minAddress is the lowest address that the guest may map.
	minAddress = 64 << 10
	// searchTop is where the search for room begins, downwards, when the guest
	// leaves the address of a mapping to the VMM.
	searchTop = 0x7e00_0000_0000
	// maxAddress is the end of what the guest may map.
	maxAddress = 0x7f00_0000_0000

	stackTop  = 0x7fff_0000_0000 // of the first thread
	stackSize = 256 << 10

	callPageAddress  = 0x7fff_f000_0000
	clockAddress     = callPageAddress + 1*pageSize // parameters of the clock
	vdsoAddress      = callPageAddress + 2*pageSize
	bellAddress      = callPageAddress + 3*pageSize
	endOfUserAddress = 1 << 47

	// What ring 0 alone may touch.
	tablesAddress    = 0xffff_8000_0000_0000 // GDT and IDT
	handlersAddress  = tablesAddress + 1*pageSize
	faultBellAddress = tablesAddress + 2*pageSize
	tasksAddress     = tablesAddress + 16*pageSize // one page per virtual processor
)
