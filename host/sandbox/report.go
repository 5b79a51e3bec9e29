package sandbox

import "fmt"

// A Report says how a worker was walled in and what it cost.
type Report struct {
	Wall   Wall
	Unused []Unused // walls that Auto would have preferred
	// Features are what the wall is made of here; a microVM's are known after
	// Worker.Close.
	Features []Feature
	Stats    []Stat // what the wall counted; known after Worker.Close
}

// An Unused is a wall that was not used, and why.
type Unused struct {
	Wall Wall
	Err  error
}

// A Feature is something that a wall is made of.
type Feature struct {
	Name    string
	Missing string // what is missing of it here; empty if nothing is
	Hint    string // what to do about that; may be empty
}

// A Stat is one figure that a wall counted.
type Stat struct {
	Name  string
	Value string
}

// Lines returns the report as -v shows it.
func (r Report) Lines() []string {
	lines := []string{fmt.Sprintf("sandbox: %s", r.Wall)}
	for _, u := range r.Unused {
		lines = append(lines, fmt.Sprintf("sandbox: %s not used: %v", u.Wall, u.Err))
	}
	for _, f := range r.Features {
		if f.Missing != "" {
			lines = append(lines, fmt.Sprintf("sandbox: %s: %s", f.Name, f.Missing))
		}
	}
	for _, s := range r.Stats {
		lines = append(lines, fmt.Sprintf("sandbox: %s: %s", s.Name, s.Value))
	}
	return lines
}
