// Command manpages writes the manual pages of instar into a folder, from what
// its help is made of. It is no part of instar, which would start later for the
// libraries that this needs.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra/doc"

	"instar/host/cli"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "manpages:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: manpages FOLDER VERSION")
	}
	folder, version := args[0], args[1]
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	root := cli.Commands("instar", version)
	root.DisableAutoGenTag = true
	return doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "instar " + version, Manual: "instar"}, folder)
}
