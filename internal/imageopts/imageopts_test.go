package imageopts

import (
	"errors"
	"flag"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"instar/internal/keyval"
	"instar/internal/testutil"
)

var update = flag.Bool("update", false, "rewrite docs/options.md")

// TestPage holds docs/options.md to the data. Run it with -update after a
// change to them.
func TestPage(t *testing.T) {
	const (
		page  = "../../docs/options.md"
		begin = "<!-- the options: go test ./internal/imageopts -update -->\n\n"
	)
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, after, found := strings.Cut(string(text), begin)
	switch {
	case !found:
		t.Fatalf("%s has no place for the options", page)
	case after == Markdown():
	case !*update:
		t.Fatalf("%s does not show the options: go test ./internal/imageopts -update", page)
	default:
		if err := os.WriteFile(page, []byte(before+begin+Markdown()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestHelpIsThatOfQemuImg(t *testing.T) {
	qemuImg := testutil.QemuImg(t)
	for _, format := range append([]string{file}, Formats...) {
		for _, files := range [][]string{nil, {"in", "out"}} {
			args := append([]string{"convert", "-O", format, "-o", "help"}, files...)
			if got, want := Help(format, files != nil), testutil.Run(t, qemuImg, args...); got != want {
				t.Errorf("%q:\n%s\nqemu-img:\n%s", args, got, want)
			}
		}
	}
}

// What qemu-img prints when it creates an image says the order of the options
// and their defaults; the values are of no use, so that it makes none.
func TestOrderAndDefaultsAreThoseOfQemuImg(t *testing.T) {
	qemuImg := testutil.QemuImg(t)
	for _, format := range Formats {
		for _, all := range []bool{false, true} {
			list := "size=1000"
			if all {
				for _, o := range Of(format) {
					switch o.Type {
					case Bool:
						list += "," + o.Name + "=y"
					case Size, Number:
						list += "," + o.Name + "=0x10"
					case String:
						if o.Name != "backing_file" {
							list += "," + o.Name + "=a,,b"
						}
					}
				}
			}
			cmd := exec.Command(qemuImg, "create", "-u", "-f", format, "-o", list, "nowhere/out")
			printed, _ := cmd.Output() // it cannot be made there
			v, err := Parse(format, keyval.Parse(list))
			if err != nil {
				t.Fatal(err)
			}
			if got := "Formatting 'nowhere/out', fmt=" + format + v.String() + "\n"; got != string(printed) {
				t.Errorf("%s\n%s\nqemu-img:\n%s", list, got, printed)
			}
		}
	}
}

// The errors are those of qemu-img, in the order in which options come.
func TestErrorsAreThoseOfQemuImg(t *testing.T) {
	qemuImg := testutil.QemuImg(t)
	for _, test := range [][2]string{
		{"qcow2", "cluster_size=abc"},
		{"qcow2", "cluster_size=16E"},
		{"qcow2", "cluster_size="},
		{"qcow2", "cluster_size"},
		{"qcow2", "nocluster_size"},
		{"qcow2", "cluster_size=4k,,"},
		{"qcow2", "refcount_bits=abc"},
		{"qcow2", "refcount_bits="},
		{"qcow2", "refcount_bits=16 "},
		{"qcow2", "refcount_bits=08"},
		{"qcow2", "refcount_bits=0x"},
		{"qcow2", "refcount_bits=1_6"},
		{"qcow2", "refcount_bits=99999999999999999999"},
		{"qcow2", "refcount_bits=99999999999999999999x"},
		{"qcow2", "lazy_refcounts=maybe"},
		{"qcow2", "lazy_refcounts="},
		{"qcow2", "lazy_refcounts=ON"},
		{"qcow2", "nofoo"},
		{"qcow2", "foo"},
		{"qcow2", "=x"},
		{"qcow2", "a=b,lazy_refcounts=maybe"},
		{"qcow2", "lazy_refcounts=maybe,a=b"},
		{"qcow2", "cluster_size=3k,foo=1"},
		{"qcow2", "help=x"},
		{"qcow2", "nohelp"},
		{"qcow2", "nocow=4"},
		{"qcow2", "extent_size_hint=x"},
		{"raw", "nonocow=x"},
		{"raw", "cluster_size=1"},
		{"raw", "size=abc"},
		{"vmdk", "compat6=2"},
		{"vpc", "block_size=1M"},
		{"vhdx", "block_size=x"},
		{"luks", "iter-time=1x,key-secret=s"},
		{"qed", "table_size=x"},
		{"parallels", "cluster_size=-1k"},
	} {
		_, err := Parse(test[0], keyval.Parse(test[1]))
		var parameter *ParameterError
		if !errors.As(err, &parameter) {
			t.Errorf("%q: %v", test, err)
			continue
		}
		cmd := exec.Command(qemuImg, "create", "-f", test[0], "-o", test[1], "nowhere/out", "1M")
		printed, _ := cmd.CombinedOutput()
		if got := "qemu-img: nowhere/out: " + parameter.Text + "\n" + parameter.Hint; got != string(printed) {
			t.Errorf("%q:\n%s\nqemu-img:\n%s", test, got, printed)
		}
	}
}

func TestCheckListIsThatOfQemuImg(t *testing.T) {
	qemuImg := testutil.QemuImg(t)
	for _, list := range []string{"", ",", "a=b,", ",a=b", ",,a=b", "a=b,,,"} {
		err := CheckList(list)
		printed, _ := exec.Command(qemuImg, "create", "-f", "raw", "-o", list, "nowhere/out", "1M").CombinedOutput()
		if err == nil || "qemu-img: "+err.Error()+"\n" != string(printed) {
			t.Errorf("%q: %v, qemu-img: %s", list, err, printed)
		}
	}
	if err := CheckList("a=b,,"); err != nil {
		t.Error(err)
	}
}

// Newer versions of QEMU than 7.2 find a negative size out of range.
func TestNegativeSize(t *testing.T) {
	_, err := Parse(qcow2, keyval.Parse("cluster_size=-1"))
	if err == nil || err.Error() != "Value '-1' is out of range for parameter 'cluster_size'" {
		t.Error(err)
	}
}

func TestValues(t *testing.T) {
	v, err := Parse(qcow2, keyval.Parse("size=1k,cluster_size=0.5M,lazy_refcounts,refcount_bits=010,compat=v2,compat=a,,b,noextended_l2,nocow=y,preallocation=full"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"cluster_size": "524288", "lazy_refcounts": "on", "refcount_bits": "8", "compat": "a,b", "extended_l2": "off", "preallocation": "full",
	}
	if got := v.Own(); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if n := v.Number("size"); n != 1024 {
		t.Errorf("size %d", n)
	}
	if on, ok := v.Get("nocow"); on != "on" || !ok {
		t.Errorf("nocow %q, %v", on, ok)
	}
	if _, ok := v.Get("data_file"); ok {
		t.Error("data_file was not given")
	}
}

func TestOptionsAreDeclaredOnce(t *testing.T) {
	for _, format := range Formats {
		list := Of(format)
		for i, o := range list {
			if o.Help == "" || slices.ContainsFunc(list[:i], func(other Option) bool { return other.Name == o.Name }) {
				t.Errorf("%s: %s has no help, or comes twice", format, o.Name)
			}
		}
	}
	if Of("bochs") != nil {
		t.Error("nobody makes images of bochs")
	}
}
