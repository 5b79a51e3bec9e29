package localfile

import (
	"fmt"
	"strings"
)

// A ProtocolError says that a name asks for something else than a local file.
type ProtocolError struct{ Protocol string }

// Error uses qemu's text for a protocol that it does not know.
func (e *ProtocolError) Error() string {
	switch e.Protocol {
	case "json", "fat", "host_device", "host_cdrom":
	default:
		if !Remote(e.Protocol) {
			return fmt.Sprintf("Unknown protocol '%s'", e.Protocol)
		}
	}
	return fmt.Sprintf("Protocol '%s' is not supported: only local files are opened", e.Protocol)
}

// Remote reports whether a protocol of QEMU's leads to another machine.
func Remote(protocol string) bool {
	switch protocol {
	case "nbd", "http", "https", "ftp", "ftps", "ssh", "nfs", "iscsi", "rbd", "gluster":
		return true
	}
	return false
}

// Protocol returns what stands before the colon when name has one before its
// first slash: by qemu's rule such a name is not that of a local file.
func Protocol(name string) (string, bool) {
	if i := strings.IndexAny(name, ":/"); i >= 0 && name[i] == ':' {
		return name[:i], true
	}
	return "", false
}

// Path returns the path of the local file that a user names: name itself, or
// what follows "file:". A *ProtocolError says that name is none.
func Path(name string) (string, error) {
	switch protocol, ok := Protocol(name); {
	case !ok:
		return name, nil
	case protocol == "file":
		return literal(strings.TrimPrefix(name, "file:")), nil
	default:
		return "", &ProtocolError{Protocol: protocol}
	}
}

// literal returns a path that leads where name does and has no protocol.
func literal(name string) string {
	if _, ok := Protocol(name); ok {
		return "./" + name
	}
	return name
}
