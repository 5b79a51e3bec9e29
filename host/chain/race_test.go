package chain

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// swap exchanges two names for as long as the test runs.
func swap(t *testing.T, a, b string) {
	t.Helper()
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			default:
				unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
			}
		}
	}()
	t.Cleanup(func() { close(done); <-ended })
}

const raceTime = 300 * time.Millisecond

// Somebody who changes the folders while a name is looked up gains nothing.
func TestRace(t *testing.T) {
	w := newWorld(t)
	w.file("images/folder/x", "inside")
	w.file("images/folder/in/x", "inside")
	w.file("outside/x", "outside")
	w.file("x", "outside")
	w.link("images/link", "../outside")
	swap(t, "images/link", "images/folder")
	g := openGate(t, "images/top", Policy{})
	lookups := map[string]func(string) (int, error){
		"lookup": g.lookup,
		"walk":   func(name string) (int, error) { return g.walk(g.own, name) },
	}
	for how, lookup := range lookups {
		found := 0
		for end := time.Now().Add(raceTime); time.Now().Before(end); {
			for _, name := range []string{"folder/x", "folder/in/../x", "folder/in/../../folder/x", "folder/../x"} {
				fd, err := lookup(name)
				if err != nil {
					continue
				}
				text := make([]byte, 16)
				target := &target{fd: fd}
				if f, err := target.open(); err == nil {
					n, _ := f.Read(text)
					f.Close()
					if found++; string(text[:n]) != "inside" {
						t.Fatalf("%s %q: got %q", how, name, text[:n])
					}
				}
				target.close()
			}
		}
		if found == 0 {
			t.Errorf("%s: it never found the file", how)
		}
	}
}

// Nor does the folder of a backing file, from which its own names go on, get
// out by a change after the file was found.
func TestRaceForTheFolder(t *testing.T) {
	w := newWorld(t)
	for _, dir := range []string{"images/folder/", "outside/"} {
		w.image(dir+"mid", extent("secret"))
		w.file(dir+"secret", dir)
	}
	w.image("images/top", backing("folder/mid"))
	w.link("images/link", "../outside")
	swap(t, "images/link", "images/folder")
	found := 0
	for end := time.Now().Add(raceTime); time.Now().Before(end); {
		worker := new(fake)
		c, err := discover(t, worker, "images/top", Options{})
		if err != nil {
			if text := err.Error(); !strings.Contains(text, "is outside the folders") && !strings.Contains(text, "No such file") {
				t.Fatal(err)
			}
			continue
		}
		found++
		for _, text := range worker.granted {
			if strings.Contains(text, "outside/") {
				t.Fatalf("it got %q", text)
			}
		}
		c.Close()
	}
	if found == 0 {
		t.Error("it never found the chain")
	}
}

// A file that is exchanged after it was found stays the one that was found.
func TestFoundFileIsTheOneThatIsRead(t *testing.T) {
	w := newWorld(t)
	w.file("images/x", "inside")
	w.file("secret", "outside")
	g := openGate(t, "images/top", Policy{})
	ref := extent("x")
	found, err := g.locate(&ref)
	if err != nil {
		t.Fatal(err)
	}
	defer found.close()
	w.check(errors.Join(unix.Unlink("images/x"), unix.Symlink("../secret", "images/x")))
	f, err := found.open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if text, err := io.ReadAll(f); string(text) != "inside" {
		t.Errorf("got %q, %v", text, err)
	}
}
