package sandbox

import "fmt"

// A Report says how a worker was walled in and what it cost.
type Report struct {
	Wall   Wall
	Unused []Unused // walls that Auto would have preferred
	Notes  []string // what this wall lacks here
	Stats  []Stat   // what the wall counted; known after Worker.Close
}

// An Unused is a wall that was not used, and why.
type Unused struct {
	Wall Wall
	Err  error
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
	for _, n := range r.Notes {
		lines = append(lines, "sandbox: "+n)
	}
	for _, s := range r.Stats {
		lines = append(lines, fmt.Sprintf("sandbox: %s: %s", s.Name, s.Value))
	}
	return lines
}
