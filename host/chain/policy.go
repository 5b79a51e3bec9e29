package chain

// A Policy says which of the names in images are followed. The zero value lets
// an image name files in its own folder and below, and no data files.
type Policy struct {
	// DenyImageDir withdraws the folder of the image itself.
	DenyImageDir bool
	// AllowPaths are more folders in which, and below which, any image may name
	// files.
	AllowPaths []string
	// AllowDataFile lets a qcow2 image keep its content in another file.
	AllowDataFile bool
	// MaxDepth is the greatest number of layers; 0 is DefaultMaxDepth.
	MaxDepth int
}

// A RefusedError says that the policy does not let a name be followed. It is
// the same whether there is such a file or not.
type RefusedError struct {
	Name string // as the image has it
	Why  string // one line
}

func (e *RefusedError) Error() string { return e.Why }
