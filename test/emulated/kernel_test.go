package emulated

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// A kernel is one to boot, with its KVM.
type kernel struct {
	image   string
	modules []string // in the order in which they must be loaded
}

// metaPackage is the package that names the newest of Debian's kernels for
// machines in the cloud: small, and with all that is needed built in but KVM.
const metaPackage = "linux-image-cloud-amd64"

// debianKernel downloads and unpacks Debian's kernel into a folder, unless an
// earlier run did. The error says what this machine lacks for it.
func debianKernel(folder string) (*kernel, error) {
	for _, tool := range []string{"apt-get", "apt-cache", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("a Debian kernel needs Debian's tools: %w", err)
		}
	}
	name, err := kernelPackage()
	if err != nil {
		return nil, err
	}
	root := filepath.Join(folder, name)
	if _, err := os.Stat(root); err != nil {
		if err := unpack(folder, name, root); err != nil {
			return nil, err
		}
	}
	return findKernel(root)
}

var dependency = regexp.MustCompile(`Depends: (linux-image-\S+)`)

// kernelPackage returns the name of the package that holds the kernel. If apt
// does not know it, apt's lists are brought up to date first.
func kernelPackage() (string, error) {
	name, err := kernelDependency()
	if err == nil {
		return name, nil
	}
	if _, updateErr := run("", "apt-get", "-q", "update"); updateErr != nil {
		return "", fmt.Errorf("%w; %w", err, updateErr)
	}
	return kernelDependency()
}

func kernelDependency() (string, error) {
	out, err := run("", "apt-cache", "depends", metaPackage)
	if m := dependency.FindStringSubmatch(out); m != nil {
		return m[1], nil
	}
	if err == nil {
		err = fmt.Errorf("%s depends on no kernel", metaPackage)
	}
	return "", err
}

// unpack unpacks a package into root. It appears there when it is complete.
func unpack(folder, name, root string) error {
	work, err := os.MkdirTemp(folder, "unpack-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if _, err := run(work, "apt-get", "-q", "download", name); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(work, "*.deb"))
	if err != nil || len(debs) != 1 {
		return fmt.Errorf("apt-get download %s left %q", name, debs)
	}
	unpacked := filepath.Join(work, "root")
	if _, err := run(work, "dpkg-deb", "-x", debs[0], unpacked); err != nil {
		return err
	}
	return os.Rename(unpacked, root)
}

func findKernel(root string) (*kernel, error) {
	find := func(pattern string) (string, error) {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(found) != 1 {
			return "", fmt.Errorf("%s: found %q", filepath.Join(root, pattern), found)
		}
		return found[0], nil
	}
	k := &kernel{}
	var err error
	if k.image, err = find("boot/vmlinuz-*"); err != nil {
		return nil, err
	}
	for _, m := range []string{"virt/lib/irqbypass.ko", "arch/x86/kvm/kvm.ko", "arch/x86/kvm/kvm-amd.ko"} {
		path, err := find("lib/modules/*/kernel/" + m)
		if err != nil {
			return nil, err
		}
		k.modules = append(k.modules, path)
	}
	return k, nil
}

// run runs a command in a folder and returns its standard output.
func run(folder, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = folder
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return string(out), err
}
