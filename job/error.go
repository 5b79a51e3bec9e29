package job

// An ErrorKind says what an [Error] is about, so that the host can choose
// words and exit code without reading the text.
type ErrorKind string

// The kinds of error.
const (
	ErrOpen        ErrorKind = "open"        // the image is not what its format demands
	ErrUnsupported ErrorKind = "unsupported" // the image asks for what this program does not do
	ErrFormat      ErrorKind = "format"      // no format of that name
	ErrRead        ErrorKind = "read"        // reading content failed
	ErrCreate      ErrorKind = "create"      // starting the output failed
	ErrWrite       ErrorKind = "write"       // writing content failed
	ErrProtocol    ErrorKind = "protocol"    // the message made no sense
	ErrSecret      ErrorKind = "secret"      // no passphrase, or a wrong one
)

// An Error is how a guest says that a job failed.
type Error struct {
	Kind ErrorKind `json:"kind"`
	// Message is one line, without the name of the file.
	Message string `json:"message"`
	// Errno is the system's error number behind it, 0 when there is none.
	Errno int `json:"errno,omitempty"`
	// Offset is where on the virtual disk it happened; -1 when nowhere.
	Offset int64 `json:"offset"`
}

func (e *Error) Error() string { return e.Message }
