// Command bench measures the program against its peers and writes the page
// docs/benchmarks.md, with plots beside it. It makes its inputs once, from a
// real directory tree, runs every contender in turn (A B A B) on a warm page
// cache after a warm-up round, and checks that all outputs of a row have equal
// content. See make bench; -only measures some of the rows.
package main
