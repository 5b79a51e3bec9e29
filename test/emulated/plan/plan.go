// Package plan is what the test and the first process of the machine that it
// boots have to say to each other.
package plan

// Path is where the first process finds its plan: a list of steps as JSON.
const Path = "/plan.json"

// Prefix begins each line of the console that holds a [Verdict] as JSON.
const Prefix = "@@verdict "

// A Step is a command to run.
type Step struct {
	Name string   `json:"name"`
	Args []string `json:"args"`
	Env  []string `json:"env"`
	// File, unless empty, is what the command has to have made: a file with the
	// digest SHA256, in hexadecimal.
	File   string `json:"file,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
}

// A Verdict is what came of a step.
type Verdict struct {
	Name    string  `json:"name"`
	Code    int     `json:"code"`  // exit code
	Error   string  `json:"error"` // why the command could not be run, or how it was killed
	Output  string  `json:"output"`
	Seconds float64 `json:"seconds"`
}
