// Package jail is the wall that is a process: the program itself, started anew
// as a worker, gives up everything that it does not need before it looks at the
// first byte of an image. A seccomp filter made from [instar/job/wall] kills it
// when it makes any other system call; Landlock takes every path, port and
// other process from it; user, mount, PID, network, IPC and UTS namespaces show
// it an empty machine, where the kernel grants them.
//
// Two processes take part. The one that the user started calls [Commands] and
// starts one of them; the worker calls [Enter] before anything else.
package jail
