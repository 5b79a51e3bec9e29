package imageopts

import (
	"fmt"
	"slices"
	"strings"
)

// Help returns what -o help prints for a format: its own options, or with those
// of the file below it when that is named.
func Help(format string, named bool) string {
	var b strings.Builder
	list := own[format]
	if named {
		list = Of(format)
		b.WriteString("Supported options:\n")
	} else {
		fmt.Fprintf(&b, "Supported %s options:\n", format)
	}
	for _, o := range sorted(list) {
		fmt.Fprintf(&b, "  %-22s - %s\n", o.Name+"=<"+o.Type.String()+">", o.Help)
	}
	if !named {
		b.WriteString("\nThe protocol level may support further options.\nSpecify the target filename to include those options.\n")
	}
	return b.String()
}

func sorted(list []Option) []Option {
	return slices.SortedFunc(slices.Values(list), func(a, b Option) int { return strings.Compare(a.Name, b.Name) })
}

// Markdown returns the options of all formats as a page shows them.
func Markdown() string {
	var b strings.Builder
	section := func(title string, list []Option) {
		fmt.Fprintf(&b, "## %s\n\n| option | value | default | |\n|---|---|---|---|\n", title)
		for _, o := range sorted(list) {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", o.Name, o.values(), code(o.Default), cell(o.Help))
		}
		b.WriteString("\n")
	}
	for _, format := range Formats {
		section(format, own[format])
	}
	section("Every format", fileOptions)
	return strings.TrimSuffix(b.String(), "\n")
}

// values says in words what an option may be.
func (o *Option) values() string {
	if len(o.Values) == 0 {
		return map[Type]string{String: "text", Number: "number", Size: "size"}[o.Type]
	}
	var list []string
	for _, v := range o.Values {
		list = append(list, code(v))
	}
	return strings.Join(list, ", ")
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

// cell escapes what ends a cell of a table.
func cell(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "|", `\|`) }
