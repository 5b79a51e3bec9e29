package chain

// DefaultMaxDepth is how many layers a chain may have when the policy does not
// say.
const DefaultMaxDepth = 16

// A Policy says which of the names in images are followed. The zero value lets
// an image name regular files in its own folder and below, and no data file.
type Policy struct {
	// DenyImageDir withdraws the folder of the image itself.
	DenyImageDir bool
	// AllowPaths are more folders in which, and below which, any image may name
	// files. One that does not exist allows nothing.
	AllowPaths []string
	// AllowDataFile lets a qcow2 image keep its content in another file.
	AllowDataFile bool
	// MaxDepth is the greatest number of layers; 0 is DefaultMaxDepth.
	MaxDepth int
}

func (p Policy) maxDepth() int {
	if p.MaxDepth > 0 {
		return p.MaxDepth
	}
	return DefaultMaxDepth
}

// Judge returns for each of the layer's references what the policy says: nil
// if it would be followed, else why not. Nothing is opened for reading.
func (l *Layer) Judge(p Policy) ([]error, error) {
	allowed, err := openRoots(p.AllowPaths)
	if err != nil {
		return nil, err
	}
	defer closeRoots(allowed)
	g := newGate(l, p, allowed)
	verdicts := make([]error, len(l.Inspection.References))
	for i := range verdicts {
		t, err := g.locate(&l.Inspection.References[i])
		if err == nil {
			t.close()
		}
		verdicts[i] = err
	}
	return verdicts, nil
}
