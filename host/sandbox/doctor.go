package sandbox

import (
	"context"
	"fmt"
	"time"

	"instar/job/wall"
)

// A WallStatus is what there is to know about one wall on this machine.
type WallStatus struct {
	Wall   Wall
	Usable bool
	// Err says why it cannot be used; its text is fit to be shown.
	Err error
	// Hint is what to do about Err; may be empty.
	Hint string
	// Chosen says that Auto takes this one, and Why for what reason.
	Chosen bool
	Why    string
	// Features are what the wall is made of, with what is missing of it here.
	Features []Feature
	// StartTime is how long it took until a worker was ready; 0 if none was.
	StartTime time.Duration
}

// Calls returns the number of system calls that a worker can have carried out
// behind either wall.
func Calls() int { return wall.Len() }

// Doctor starts a worker behind each wall that there is and returns what became
// of it, in the order in which Auto tries them. It obeys no Wall of the options,
// but Auto's choice is theirs: see [WallStatus.Chosen].
func Doctor(ctx context.Context, o Options) []WallStatus {
	o = o.withDefaults()
	statuses := []WallStatus{examine(ctx, KVM, o), examine(ctx, Jail, o)}
	for i := range statuses {
		if statuses[i].Usable {
			statuses[i].Chosen = true
			statuses[i].Why = why(statuses, i)
			break
		}
	}
	return statuses
}

func why(statuses []WallStatus, chosen int) string {
	if chosen == 0 {
		return "it is usable, and the strongest"
	}
	return fmt.Sprintf("%s cannot be used: %v", statuses[chosen-1].Wall, statuses[chosen-1].Err)
}

func examine(ctx context.Context, wall Wall, o Options) WallStatus {
	s := WallStatus{Wall: wall}
	begin := time.Now()
	w, err := start(ctx, wall, o)
	if err != nil {
		s.Err, s.Hint = err, hint(err)
		if wall == Jail {
			s.Features = jailFeatures()
		}
		return s
	}
	s.Usable, s.StartTime = true, time.Since(begin)
	w.Close()
	s.Features = w.Report().Features
	return s
}
