package chain

import "testing"

func TestWithin(t *testing.T) {
	for _, test := range []struct {
		path, dir, want string
		ok              bool
	}{
		{"/a/b", "/a", "b", true},
		{"/a", "/a", ".", true},
		{"/a/", "/a", ".", true},
		{"/a/.", "/a", ".", true},
		{"/a/../b", "/a", "../b", true},
		{"//a/.//./b//c/", "/a/b", "c/", true},
		{"/", "/", ".", true},
		{"/a/b", "/", "a/b", true},
		{"/ab", "/a", "", false},
		{"/a", "/a/b", "", false},
		{"/", "/a", "", false},
		{"/../a", "/a", "", false},
		{"/.a/b", "/a", "", false},
		{"/a", "", "", false},
	} {
		if got, ok := within(test.path, test.dir); got != test.want || ok != test.ok {
			t.Errorf("within(%q, %q) = %q, %v", test.path, test.dir, got, ok)
		}
	}
}

func TestClimb(t *testing.T) {
	for _, test := range [][3]string{
		{"/a/b", "c", "/a/b/c"},
		{"/a/b", "../c", "/a/c"},
		{"/a/b", "./..//../c/../d", "/c/../d"},
		{"/a/b", "..", "/a"},
		{"/a/b", "../../../..", "/"},
		{"/", "../c", "/c"},
		{"/a", "", "/a"},
		{"/a", "...", "/a/..."},
	} {
		if got := climb(test[0], test[1]); got != test[2] {
			t.Errorf("climb(%q, %q) = %q, want %q", test[0], test[1], got, test[2])
		}
	}
}

// A folder that has no path here, as one that was mounted elsewhere, is one to
// name files in all the same; nothing leads out of it.
func TestFolderWithoutPath(t *testing.T) {
	w := farm(t)
	g := openGate(t, "images/top", Policy{})
	g.own.real, g.own.given = "", ""
	for name, want := range map[string]string{
		"base": "images/base", "sub/../base": "images/base", "to-base": "images/base",
		"../images/base": "", "abs-in": "", "out-and-in": "", w.dir + "/images/base": "",
	} {
		if got, _ := g.read(name); got != want {
			t.Errorf("%q: got %q", name, got)
		}
	}
}
