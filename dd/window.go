package dd

// A Window is the part of the input that a dd copies, in bytes.
type Window struct {
	Start int64 // first byte copied
	End   int64 // first byte not copied; Start <= End
	// OutSize is the virtual size of the output: End-Start rounded up to 512.
	OutSize int64
	// SkipBeyond says that skip lies beyond the (clamped) end of the input,
	// not at it: the one case in which qemu-img dd prints a warning.
	SkipBeyond bool
}
