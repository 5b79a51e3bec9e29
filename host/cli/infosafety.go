package cli

import (
	"fmt"
	"strings"

	"instar/host/chain"
	"instar/internal/safetext"
	"instar/job"
)

// A safety is what an image makes of other files, and what is risky about it.
type safety struct {
	references []judged
	risks      []string
	// unchecked is why the image cannot be checked: it is encrypted, and its
	// passphrase was not given, or would be of no use.
	unchecked string
	verified  bool // all tables were checked: fault says what was found
	fault     string
}

// A judged is a reference, and why it would not be followed; nil if it would.
type judged struct {
	job.Reference
	refusal error
}

// judge says what the policy makes of what an image names.
func judge(l *chain.Layer, p chain.Policy, verified bool) (safety, error) {
	verdicts, err := l.Judge(p)
	if err != nil {
		return safety{}, err
	}
	i := l.Inspection
	s := safety{risks: risks(i), verified: verified, fault: i.Fault}
	switch {
	case i.RefusedKind == job.ErrSecret, i.RefusedKind == job.ErrUnsupported:
		s.unchecked, s.verified, s.fault = i.Refused, false, ""
	case s.fault == "":
		s.fault = i.Refused
	}
	for k, ref := range i.References {
		s.references = append(s.references, judged{ref, verdicts[k]})
	}
	return s, nil
}

// risks returns what there is to know about an image besides what it names.
func risks(i *job.Inspection) []string {
	var list []string
	add := func(yes bool, text string) {
		if yes {
			list = append(list, text)
		}
	}
	undeclared := false
	for _, ref := range i.References {
		undeclared = undeclared || ref.Kind == job.BackingFile && ref.Format == ""
	}
	add(undeclared, "the format of the backing file is not declared: it would be detected from its content")
	add(i.Dirty, "it was not closed cleanly")
	add(i.Encrypted, "it is encrypted: what it holds cannot be seen without the passphrase")
	add(len(i.Snapshots) > 0, fmt.Sprintf("it holds %d internal snapshots, whose content is not that of the disk", len(i.Snapshots)))
	add(i.Resembles != "", fmt.Sprintf("it ends like an image of format %s, and has no other sign of it: with -f %[1]s it is read as one", i.Resembles))
	return list
}

// object returns the section as JSON.
func (s *safety) object() object {
	references := make([]any, len(s.references))
	for k, ref := range s.references {
		names := make([]any, len(ref.Names))
		for k, name := range ref.Names {
			names[k] = name
		}
		o := object{{"kind", ref.Kind}, {"names", names}}
		if ref.Format != "" {
			o.add("format", ref.Format)
		}
		o.add("followed", ref.refusal == nil)
		if ref.refusal != nil {
			o.add("reason", ref.refusal.Error())
		}
		references[k] = o
	}
	list := make([]any, len(s.risks))
	for k, risk := range s.risks {
		list[k] = risk
	}
	o := object{{"self-contained", len(s.references) == 0}, {"references", references}, {"risks", list}}
	if s.verified || s.fault != "" {
		o.add("well-formed", s.fault == "")
	}
	if s.fault != "" {
		o.add("fault", s.fault)
	}
	if s.unchecked != "" {
		o.add("unchecked", s.unchecked)
	}
	return o
}

// human returns the section as it is printed for people.
func (s *safety) human() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, "    "+format+"\n", args...) }
	b.WriteString("Safety:\n")
	if len(s.references) == 0 {
		line("names no other file")
	}
	for _, ref := range s.references {
		verdict := "would be followed"
		if ref.refusal != nil {
			verdict = "would not be followed: " + ref.refusal.Error()
		}
		line("%s: %s: %s", ref.Kind, ref.list(), verdict)
	}
	for _, risk := range s.risks {
		line("%s", risk)
	}
	switch {
	case s.unchecked != "":
		line("cannot be checked: %s", reason(s.unchecked))
	case s.fault != "":
		line("not well-formed: %s", reason(s.fault))
	case s.verified:
		line("well-formed")
	}
	return b.String()
}

// list returns the names of a reference, fit to be shown.
func (j judged) list() string {
	names := make([]string, len(j.Names))
	for k, name := range j.Names {
		names[k] = "'" + reason(name) + "'"
	}
	return strings.Join(names, ", ")
}

// unsafe returns why --strict does not let the image pass, nil if it does.
func (i *imageInfo) unsafe() error {
	switch {
	case len(i.safety.references) > 0:
		ref := i.safety.references[0]
		return fmt.Errorf("'%s' refers to something outside itself: %s %s", safetext.Escape(i.name), ref.Kind, ref.list())
	case i.safety.unchecked != "":
		return fmt.Errorf("'%s' cannot be checked: %s", safetext.Escape(i.name), reason(i.safety.unchecked))
	case i.safety.fault != "":
		return fmt.Errorf("'%s' is not well-formed: %s", safetext.Escape(i.name), reason(i.safety.fault))
	}
	return nil
}

// reason returns what is said about an image fit to be shown.
func reason(text string) string { return safetext.Escape(safetext.Limit(text, maxReason)) }
