// Package job is what passes between the host and the guest: jobs, answers,
// and the framing of the control channel. It is plain data; what the data may
// do is decided by whoever receives it. Each side treats what it receives as
// hostile (design: the host must survive any guest).
package job

import "instar/dd"

// A Message is one message on the control channel. Exactly one field is set.
type Message struct {
	// Host to guest.
	Grant   *Grant     `json:"grant,omitempty"`
	Revoke  *Revoke    `json:"revoke,omitempty"`
	Inspect *Inspect   `json:"inspect,omitempty"`
	Execute *Execution `json:"execute,omitempty"`
	Compare *Compare   `json:"compare,omitempty"`
	Sum     *Sum       `json:"sum,omitempty"`

	// Guest to host. Hello comes once, first. Each job is answered by any
	// number of Progress and Warning messages, and then by its result or an
	// Error. Before an Inspection come the snapshots that it has no room for.
	Hello      *Hello      `json:"hello,omitempty"`
	Progress   *Progress   `json:"progress,omitempty"`
	Warning    *Warning    `json:"warning,omitempty"`
	Snapshots  []Snapshot  `json:"snapshots,omitempty"`
	Inspection *Inspection `json:"inspection,omitempty"`
	Result     *Result     `json:"result,omitempty"`
	Comparison *Comparison `json:"comparison,omitempty"`
	Digest     *Digest     `json:"digest,omitempty"`
	Error      *Error      `json:"error,omitempty"`
}

// Hello says that the guest runs and is ready for jobs.
type Hello struct{}

// Access says what a granted descriptor may be used for.
type Access string

// The kinds of access.
const (
	Read  Access = "read"  // an input: pread64, lseek, source of copy_file_range
	Write Access = "write" // the output: pwrite64, ftruncate, fallocate, fdatasync, target of copy_file_range
)

// A Grant hands one open descriptor to the guest. The descriptor travels with
// the message (SCM_RIGHTS); from then on jobs name it by ID.
type Grant struct {
	ID     int    `json:"id"`
	Access Access `json:"access"`
	// Ceiling is the first offset in bytes that may not be written to; 0 for
	// inputs.
	Ceiling int64 `json:"ceiling,omitempty"`
	// Reserve has whoever carries the writes out allocate space before a long
	// one, from ReserveFrom on. It is the microVM's host that does, if there is
	// one: the guest does not hear of it.
	Reserve bool `json:"reserve,omitempty"`
	// Extended says that calls on it take what only the microVM knows:
	// wall.LeaveZeros, and wall.SeekRuns. It is the microVM's host that says so to
	// the guest.
	Extended bool `json:"extended,omitempty"`
}

// ReserveFrom is the length in bytes from which a write is worth a call more, and
// ReserveSlice is how much of it is written at a time. The page cache takes memory
// in pieces as long as a write, and pieces of 2 MiB are those that a virtual machine
// may have given back to its hypervisor.
const (
	ReserveFrom  = 1 << 20
	ReserveSlice = 512 << 10
)

// Revoke takes a granted descriptor back: the guest closes it.
type Revoke struct {
	ID int `json:"id"`
}

// Inspect asks what the image in a granted descriptor is.
type Inspect struct {
	ID int `json:"id"`
	// Format forces the format; empty has it detected.
	Format string `json:"format,omitempty"`
	// Suffix is how the name of the file ends, from the last dot on; a format
	// may be detected with its help.
	Suffix   string `json:"suffix,omitempty"`
	Snapshot string `json:"snapshot,omitempty"`
	// Secret is the passphrase, which can be empty; nil is none.
	Secret []byte `json:"secret,omitzero"`
	// Container is what the image is encrypted in, if the file is not the image
	// itself.
	Container *Container `json:"container,omitempty"`
	// Part has the image be a part of the file; nil is all of it.
	Part *Part `json:"part,omitempty"`
	// Verify has all tables of the image followed; see Inspection.Fault.
	Verify bool `json:"verify,omitempty"`
	// Files are the granted descriptors behind the references that an earlier
	// inspection listed, by index; -1 where none was granted. An image whose
	// extents are files of their own tells more about itself with them.
	Files []int `json:"files,omitempty"`
}

// A Part is a part of a file that is a raw disk by itself (see disk.Part).
type Part struct {
	Offset int64 `json:"offset"`
	// Sized says that it has Size bytes, and does not go up to the end.
	Sized bool  `json:"sized,omitempty"`
	Size  int64 `json:"size,omitempty"`
}

// An Inspection is what an image says about itself (see disk.Info).
type Inspection struct {
	Format      string `json:"format"`
	VirtualSize int64  `json:"virtual-size"`
	ClusterSize int64  `json:"cluster-size,omitempty"`
	Encrypted   bool   `json:"encrypted,omitempty"`
	Compressed  bool   `json:"compressed,omitempty"`
	Dirty       bool   `json:"dirty,omitempty"`
	Refused     string `json:"refused,omitempty"` // why content cannot be read
	// RefusedKind is what kind of error Refused is.
	RefusedKind ErrorKind `json:"refused-kind,omitempty"`
	// Fault is what Inspect.Verify found to be wrong with the image.
	Fault      string      `json:"fault,omitempty"`
	References []Reference `json:"references,omitempty"`
	Identity   string      `json:"identity,omitempty"`
	// Options are options by which an image like this one is created, and Lost
	// what it would not have then (see disk.Info).
	Options map[string]string `json:"options,omitempty"`
	Lost    string            `json:"lost,omitempty"`
	// Resembles is the format that the end of a file speaks for in which none was
	// detected, so that it is taken for raw.
	Resembles string     `json:"resembles,omitempty"`
	Snapshots []Snapshot `json:"snapshots,omitempty"`
	Details   []Detail   `json:"details,omitempty"`
}

// MaxSnapshots is how many snapshots one message has at most, and there are up to
// 65536 of an image (docs/interop/qcow2.txt leaves that open; QEMU has no more).
const (
	MaxSnapshots      = 256
	MaxSnapshotsImage = 65536
)

// A Snapshot is one internal snapshot (see disk.Snapshot).
type Snapshot struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	VMStateSize int64  `json:"vm-state-size"`
	Seconds     int64  `json:"date-sec"`
	Nanoseconds int64  `json:"date-nsec"`
	ClockNanos  int64  `json:"vm-clock-nsec"`
	ICount      *int64 `json:"icount,omitempty"`
	DiskSize    int64  `json:"disk-size,omitempty"`
}

// A Detail is one field of a format's own description: exactly one of the
// pointers, Object or List is set.
type Detail struct {
	Key    string   `json:"key,omitempty"`
	Text   *string  `json:"text,omitempty"`
	Flag   *bool    `json:"flag,omitempty"`
	Number *int64   `json:"number,omitempty"`
	Object []Detail `json:"object,omitempty"`
	List   []Detail `json:"list,omitempty"`
}

// An Execution is one copy: what dd and convert ask the guest to do.
type Execution struct {
	// Inputs are concatenated; each is a chain, the topmost layer first. With
	// none the output is created empty, of OutputSize bytes.
	Inputs []Input `json:"inputs"`
	Output Output  `json:"output"`
	// Window is the part to copy; nil is all of it. dd always sets it, also
	// for a whole image, so that an empty copy can be said.
	Window *dd.Window `json:"window,omitempty"`
	// OutputSize is the virtual size of the output in bytes; nil is the
	// input's.
	OutputSize *int64 `json:"output-size,omitempty"`
	// SkipZeros leaves runs of zeros out of the output. The output is dense
	// without it.
	SkipZeros bool `json:"skip-zeros,omitempty"`
	// Overlay leaves out of the output what the inputs leave unallocated:
	// something below it shows through there.
	Overlay bool `json:"overlay,omitempty"`
	// Below is what shows through there; nil is nothing that is known.
	Below *Input `json:"below,omitempty"`
	// Offload has the kernel copy what is stored as it is, without a look for
	// zeros in it.
	Offload bool `json:"offload,omitempty"`
	// SparseSize is the length in bytes from which a run of zeros counts for
	// SkipZeros; 0 is 4096.
	SparseSize int64 `json:"sparse-size,omitempty"`
	// Sync has the output put on stable storage before the result is sent.
	Sync bool `json:"sync,omitempty"`
	// Hash has the digest of what the output shows computed on the way; empty is
	// none.
	Hash Hash `json:"hash,omitempty"`
	// Rate bounds how many bytes a second are written; 0 does not.
	Rate int64 `json:"rate,omitempty"`
	// Salvage takes sectors that cannot be read for zeros, with a Warning each.
	Salvage bool `json:"salvage,omitempty"`
	// DirectInputs says that the inputs' descriptors are open for direct I/O
	// (O_DIRECT).
	DirectInputs bool `json:"direct-inputs,omitempty"`
	// Workers bounds the number of pieces in flight; 0 is the guest's choice.
	Workers int `json:"workers,omitempty"`
}

// An Input is one chain of layers, the topmost first.
type Input struct {
	Layers []Layer `json:"layers"`
	// Start is where in the chain the input begins, in bytes.
	Start int64 `json:"start,omitempty"`
	// Above is how many of the layers are copied onto Execution.Below; 0 is one.
	Above int `json:"above,omitempty"`
	// Solid has what no layer stores read as zeros, with Execution.Overlay as
	// well.
	Solid bool `json:"solid,omitempty"`
}

// A Layer is one image of a chain.
type Layer struct {
	ID       int    `json:"id"`
	Format   string `json:"format"`
	Snapshot string `json:"snapshot,omitempty"`
	Secret   []byte `json:"secret,omitzero"`
	// Container is what the image is encrypted in; see Inspect.
	Container *Container `json:"container,omitempty"`
	// Part is as in Inspect.
	Part *Part `json:"part,omitempty"`
	// Files are the granted descriptors behind the inspection's references,
	// by index; -1 where none was granted.
	Files []int `json:"files,omitempty"`
}

// A Container is an image whose disk is the file of another image.
type Container struct {
	Format string `json:"format"`
	Secret []byte `json:"secret,omitzero"`
}

// An Output is what an Execution writes to.
type Output struct {
	ID int `json:"id"`
	// Direct is a second descriptor of the same file, open for direct I/O
	// (O_DIRECT): what is aligned is written by it. 0 is none.
	Direct int `json:"direct,omitempty"`
	// Name is what the image calls its own file, which need not be UTF-8.
	Name []byte `json:"name,omitempty"`
	// Parent is the identity of the backing file that Options name; see
	// Inspection.
	Parent string `json:"parent,omitempty"`
	// Files are the other files that the output consists of (see ExtraFiles).
	Files  []OutputFile `json:"files,omitempty"`
	Format OutputFormat `json:"format"`
	// Compress has the format's compression used (-c).
	Compress bool `json:"compress,omitempty"`
	// BestCompression has more time spent on a smaller output.
	BestCompression bool `json:"best-compression,omitempty"`
	// ClusterSize is the unit of allocation in bytes (cluster, grain, block);
	// 0 is the format's default.
	ClusterSize int64 `json:"cluster-size,omitempty"`
	// Options are the format's own (-o), by name.
	Options map[string]string `json:"options,omitempty"`
	// Old is the image that is laid out anew, if it is one (see
	// disk.WriterOptions).
	Old *Layer `json:"old,omitempty"`
	// Secret encrypts the output; nil is none.
	Secret []byte `json:"secret,omitzero"`
	// Seed is what ids in the output are derived from: 32 bytes.
	Seed []byte `json:"seed,omitempty"`
	// Time is when the output is made, in seconds since 1970, UTC.
	Time int64 `json:"time,omitempty"`
	// Bitmaps has the persistent bitmaps of the first input copied, but for
	// those that are broken.
	Bitmaps bool `json:"bitmaps,omitempty"`
	// Zeroed says that the output reads as zeros where nothing is written.
	Zeroed bool `json:"zeroed,omitempty"`
	// Existing says that the output is written in place, into a device or into
	// an image that is there: its length stays.
	Existing bool `json:"existing,omitempty"`
}

// An OutputFile is one of several files that an output consists of.
type OutputFile struct {
	ID     int    `json:"id"`
	Direct int    `json:"direct,omitempty"` // as in Output
	Name   []byte `json:"name"`             // what the image calls it
}

// A Compare asks whether two chains show the same content. Where one is longer,
// the rest of it has to read as zeros.
type Compare struct {
	Inputs [2]Input `json:"inputs"`
	// Strict has runs differ also where they are stored in another way.
	Strict bool `json:"strict,omitempty"`
}

// A Comparison is what came of a Compare.
type Comparison struct {
	// Offset is where the first difference is, in bytes; -1 when there is none.
	Offset int64 `json:"offset"`
	// Status says that it is how a run is stored that differs, or could not be
	// told.
	Status bool `json:"status,omitempty"`
	// Failure says why the comparison ended at Offset; nil when it did not.
	Failure *Error `json:"failure,omitempty"`
	// Second says that it was the second chain that failed.
	Second bool `json:"second,omitempty"`
}

// Progress says how far a job has come.
type Progress struct {
	Done  int64 `json:"done"`  // bytes of the window dealt with
	Total int64 `json:"total"` // bytes of the window
}

// A Warning says that a sector was taken for zeros, since it cannot be read.
type Warning struct {
	Offset int64 `json:"offset"` // on the input, bytes
	// Status says that it could not be told what the image stores there.
	Status bool `json:"status,omitempty"`
	// Failure says why; nil says that there are more that are not told of.
	Failure *Error `json:"failure,omitempty"`
}

// MaxWarnings is how many warnings there are in an answer at most.
const MaxWarnings = 1 << 16

// A Result says what an Execution did, in bytes.
type Result struct {
	Copied    int64 `json:"copied"`    // read into the guest and written
	Offloaded int64 `json:"offloaded"` // moved by the kernel (copy_file_range)
	Zeroed    int64 `json:"zeroed"`    // left out or zeroed without being read
	// Digest is that of the output's whole content, but for what lies behind the
	// copy in a file or device that was there; nil if none was asked for.
	Digest *Digest `json:"digest,omitempty"`
}
