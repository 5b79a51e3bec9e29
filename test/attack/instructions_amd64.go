package attack

// Instructions that a user's program must not execute, and jumps to where it
// must not go.
func halt()
func portOut()
func readCR3()
func writeMSR()
func invalidOpcode()
func int80()
func jump(address uint64)
