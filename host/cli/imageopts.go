package cli

import (
	"errors"
	"fmt"
	"strings"

	"instar/internal/keyval"
	"instar/internal/safetext"
	"instar/job"
)

var errBothFormats = errors.New("--image-opts and --format are mutually exclusive")

// imageFromOptions reads the name of an image under --image-opts: DRIVER and
// file, as in driver=qcow2,file.filename=disk.qcow2. The file can be within a
// container, as in driver=qcow2,file.driver=luks,file.file.filename=disk.luks.
// The texts are qemu-img's.
func (s *settings) imageFromOptions(given string) (image, error) {
	list := keyval.Parse(given)
	if len(list) > 0 && list[0].Bare {
		list[0] = keyval.Pair{Name: "file", Value: list[0].Name}
	}
	list, within := splitContainer(list)
	o := readImageOptions(list)
	if within != nil {
		c := readImageOptions(within)
		if err := c.check(); err != nil {
			return image{}, couldNotOpen(given, err.Error())
		}
		o.container, o.filename, o.hasFile, o.direct = &c, c.filename, true, c.direct
	}
	if err := o.check(); err != nil {
		return image{}, couldNotOpen(given, err.Error())
	}
	i := image{given: given, path: literalPath(o.filename), format: o.driver, direct: o.direct}
	var err error
	if i.secret, err = s.secret(o.secret); err == nil && o.container != nil {
		i.container = &job.Container{Format: o.container.driver}
		i.container.Secret, err = s.secret(o.container.secret)
	}
	if err != nil {
		return image{}, couldNotOpen(given, err.Error())
	}
	return i, nil
}

// secret returns the secret of an ID; nil for none.
func (s *settings) secret(id string) ([]byte, error) {
	if id == "" {
		return nil, nil
	}
	secret, ok := s.secrets[id]
	if !ok {
		return nil, fmt.Errorf("No secret with id '%s'", safetext.Escape(id))
	}
	return secret, nil
}

// containers are drivers of images whose disk can be the file of another.
var containers = map[string]bool{"luks": true}

// splitContainer takes the options of the container that the file of an image is
// in out of the image's; within is nil where there is none.
func splitContainer(list []keyval.Pair) (own, within []keyval.Pair) {
	driver := ""
	for _, kv := range list {
		if kv.Name == "file.driver" {
			driver = kv.Value
		}
	}
	if !containers[driver] {
		return list, nil
	}
	for _, kv := range list {
		if name, ok := strings.CutPrefix(kv.Name, "file."); ok {
			kv.Name = name
			within = append(within, kv)
		} else {
			own = append(own, kv)
		}
	}
	return own, within
}

func readImageOptions(list []keyval.Pair) (o imageOptions) {
	for _, kv := range list {
		o.set(kv)
	}
	return o
}

// imageOptions are the options of one image. Of several of a name, the last one
// counts.
type imageOptions struct {
	driver     string
	fileDriver string
	filename   string // file.filename
	bareName   string // filename
	node       string // file
	secret     string
	container  *imageOptions // what the file is in; nil for none
	unknown    string        // the first that there is no such option
	hasFile    bool
	direct     bool   // cache.direct
	badBool    string // the first that is neither on nor off
}

func (o *imageOptions) set(kv keyval.Pair) {
	switch kv.Name {
	case "driver":
		o.driver = kv.Value
	case "file":
		o.node = kv.Value
	case "file.driver":
		o.fileDriver, o.hasFile = kv.Value, true
	case "file.filename":
		o.filename, o.hasFile = kv.Value, true
	case "filename":
		o.bareName = kv.Value
	case "key-secret", "encrypt.key-secret":
		o.secret = kv.Value
	case "encrypt.format": // what the image says counts
	case "cache.direct", "file.cache.direct":
		o.direct = kv.Value == "on"
		o.checkBool(kv)
	case "cache.no-flush", "file.cache.no-flush", "auto-read-only", "file.auto-read-only":
		o.checkBool(kv)
	case "discard", "file.discard", "detect-zeroes", "file.aio", "file.locking", "node-name", "file.node-name":
		// It is decided here how files are locked and written.
	default:
		if o.unknown == "" {
			o.unknown = kv.Name
		}
	}
}

func (o *imageOptions) checkBool(kv keyval.Pair) {
	if kv.Value != "on" && kv.Value != "off" && o.badBool == "" {
		o.badBool = kv.Name
	}
}

// fileDrivers open a file or a device as it is.
var fileDrivers = map[string]bool{"file": true, "host_device": true, "host_cdrom": true}

func (o *imageOptions) check() error {
	if fileDrivers[o.driver] && !o.hasFile {
		o.driver, o.filename, o.hasFile = "raw", o.bareName, true
	}
	switch {
	case o.node != "":
		node := safetext.Escape(o.node)
		return fmt.Errorf("Cannot find device='%s' nor node-name='%s'", node, node)
	case !o.hasFile && o.driver == "":
		return errors.New("Must specify either driver or file")
	case !o.hasFile:
		return errors.New(`A block device must be specified for "file"`)
	case o.fileDriver != "" && !fileDrivers[o.fileDriver]:
		return fmt.Errorf("Unknown driver '%s'", safetext.Escape(o.fileDriver))
	case o.badBool != "":
		return fmt.Errorf("Parameter '%s' expects 'on' or 'off'", o.badBool)
	case o.unknown != "":
		return fmt.Errorf("there is no option '%s', or it is not supported yet", safetext.Escape(o.unknown))
	case o.bareName != "" && o.filename != o.bareName:
		return errors.New("there is no option 'filename', or it is not supported yet")
	}
	return nil
}
