package cli

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"instar/host/localfile"
	"instar/internal/imageopts"
	"instar/internal/keyval"
	"instar/internal/qemunum"
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
	for k, kv := range list {
		if kv.Bare && !keyval.AsksForHelp(list[k:k+1]) {
			list[k] = kv.Boolean()
			s.warnOfShort(kv, list[k])
		}
	}
	return s.imageFromList(given, list)
}

// warnOfShort says, as qemu-img does, that an option has no value.
func (s *settings) warnOfShort(short, whole keyval.Pair) {
	if s.warn != nil {
		s.warn(fmt.Sprintf("short-form boolean option '%s' deprecated\nPlease use %s=%s instead",
			safetext.Escape(short.Name), safetext.Escape(whole.Name), whole.Value))
	}
}

// imageFromList reads the options of an image, which messages call what is
// given.
func (s *settings) imageFromList(given string, list []keyval.Pair) (image, error) {
	list, within := splitContainer(list)
	o := readImageOptions(list)
	if within != nil {
		c := readImageOptions(within)
		if err := c.check(); err != nil {
			return image{}, notOpened(given, err)
		}
		o.container, o.filename, o.hasFile, o.direct = &c, c.filename, true, c.direct
	}
	if err := o.check(); err != nil {
		return image{}, notOpened(given, err)
	}
	i := image{given: given, path: literalPath(o.filename), format: o.driver, direct: o.direct, share: o.share, readOnly: o.readOnly}
	if o.part != (job.Part{}) {
		i.part = &o.part
	}
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

// notOpened is couldNotOpen with the hint that an error about an option has.
func notOpened(given string, err error) error {
	framed := couldNotOpen(given, err.Error())
	var p *imageopts.ParameterError
	if errors.As(err, &p) && p.Hint != "" {
		return &hintError{text: framed.Error(), more: p.Hint}
	}
	return framed
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
		if kv.Name == "driver" {
			o.driver = kv.Value
		}
	}
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
	hasFile    bool
	direct     bool // cache.direct
	share      bool // force-share
	readOnly   bool
	part       job.Part // offset, size
	wrong      error    // the first that is no option, or no value of it
}

func (o *imageOptions) set(kv keyval.Pair) {
	switch kv.Name {
	case "driver":
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
		o.setBool(kv, &o.direct)
	case "read-only":
		o.setBool(kv, &o.readOnly)
	case "force-share":
		o.setBool(kv, &o.share)
	default:
		o.setOther(kv)
	}
}

func (o *imageOptions) setBool(kv keyval.Pair, v *bool) {
	*v = kv.Value == "on"
	if kv.Value != "on" && kv.Value != "off" {
		o.refuse(fmt.Errorf("Parameter '%s' expects 'on' or 'off'", kv.Name))
	}
}

func (o *imageOptions) refuse(err error) {
	if o.wrong == nil {
		o.wrong = err
	}
}

// setOther sets an option of the driver, or one that makes no difference.
func (o *imageOptions) setOther(kv keyval.Pair) {
	switch known, err := imageopts.CheckOpen(o.driver, kv.Name, kv.Value); {
	case err != nil:
		o.refuse(err)
	case known:
	case o.driver == string(job.Raw) && (kv.Name == "offset" || kv.Name == "size"):
		o.setPart(kv)
	default:
		o.refuse(o.unknown(kv.Name))
	}
}

// setPart sets where in its file a raw disk is.
func (o *imageOptions) setPart(kv keyval.Pair) {
	n, err := qemunum.Parse(kv.Value)
	switch {
	case err != nil:
		o.refuse(imageopts.SizeError(kv.Name, kv.Value, err))
	case kv.Name == "offset":
		o.part.Offset = int64(min(n, math.MaxInt64))
	default:
		o.part.Sized, o.part.Size = true, int64(min(n, math.MaxInt64))
	}
}

// elsewhere are options that QEMU has, and this program has not.
var elsewhere = []string{"backing", "data-file"}

// unknown says that a driver does not have an option, or that it is one of those
// elsewhere.
func (o *imageOptions) unknown(name string) error {
	head, _, _ := strings.Cut(name, ".")
	plain, below := strings.CutPrefix(name, "file.")
	_, err := job.ParseOutputFormat(o.driver)
	switch {
	case slices.Contains(elsewhere, head), strings.HasPrefix(name, "file.file."), err != nil && !below:
		return fmt.Errorf("there is no option '%s', or it is not supported yet", safetext.Escape(name))
	case below:
		return fmt.Errorf("Block protocol 'file' doesn't support the option '%s'", safetext.Escape(plain))
	}
	return fmt.Errorf("Block format '%s' does not support the option '%s'", o.driver, safetext.Escape(name))
}

// fileDrivers open a file or a device as it is.
var fileDrivers = map[string]bool{fileDriver: true, deviceDriver: true, "host_cdrom": true}

func (o *imageOptions) check() error {
	for _, d := range []string{o.driver, o.fileDriver} {
		if localfile.Remote(d) {
			return &localfile.ProtocolError{Protocol: d}
		}
	}
	if fileDrivers[o.driver] && !o.hasFile {
		o.fileDriver, o.driver, o.filename, o.hasFile = o.driver, "raw", o.bareName, true
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
	case o.wrong != nil:
		return o.wrong
	case o.bareName != "" && o.filename != o.bareName:
		return o.unknown("filename")
	case isDriver(o.fileDriver):
		return opens(o.fileDriver, literalPath(o.filename))
	}
	return nil
}
