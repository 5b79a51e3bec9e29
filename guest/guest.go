// Package guest is the side of the program that runs behind the wall. It takes
// jobs and descriptors over the control channel, parses images, and answers. It
// opens nothing, and makes no system call that is not in the table (package
// job/wall).
package guest

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"instar/disk"
	"instar/disk/all"
	"instar/internal/safetext"
	"instar/job"
)

// Main serves the control channel on the descriptor control until it is closed,
// and returns the exit code.
func Main(control int) int {
	if err := Serve(job.NewConn(control), all.Registry()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Serve serves the control channel until it is closed.
func Serve(c *job.Conn, formats *disk.Registry) error {
	s := &server{conn: c, formats: formats, grants: map[int]grant{}}
	if err := c.Send(&job.Message{Hello: &job.Hello{}}, -1); err != nil {
		return err
	}
	for {
		m, fd, err := c.Receive()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if answer := s.handle(m, fd); answer != nil {
			err := c.Send(answer, -1)
			if errors.Is(err, job.ErrMessage) { // there is an image that says too much
				err = c.Send(failure(disk.Unsupportedf("", "the image has too many parts, or too long names of them, to be described")), -1)
			}
			if err != nil {
				return err
			}
		}
	}
}

type server struct {
	conn    *job.Conn
	formats *disk.Registry
	grants  map[int]grant
	direct  bool // inputs are open for direct I/O
}

type grant struct {
	fd       int
	access   job.Access
	reserves bool
	extended bool
}

// handle carries one message out and returns the answer, if it is a job.
func (s *server) handle(m *job.Message, fd int) *job.Message {
	switch {
	case m.Grant != nil:
		if old, ok := s.grants[m.Grant.ID]; ok {
			unix.Close(old.fd)
		}
		s.grants[m.Grant.ID] = grant{fd, m.Grant.Access, m.Grant.Reserve, m.Grant.Extended}
		return nil
	case m.Revoke != nil:
		if g, ok := s.grants[m.Revoke.ID]; ok {
			unix.Close(g.fd)
			delete(s.grants, m.Revoke.ID)
		}
		return nil
	case m.Inspect != nil:
		return answer(func() (*job.Message, error) { return s.inspect(m.Inspect) })
	case m.Compare != nil:
		return answer(func() (*job.Message, error) { return s.compare(m.Compare) })
	case m.Sum != nil:
		return answer(func() (*job.Message, error) { return s.sum(m.Sum) })
	case m.Execute != nil:
		return answer(func() (*job.Message, error) { return s.execute(m.Execute) })
	}
	return failure(protocol("the host sent what only a worker sends"))
}

// answer turns what goes wrong in a job into its answer, a panic as well: the
// image that caused it is at fault, and the next job may be sound.
func answer(f func() (*job.Message, error)) (m *job.Message) {
	defer func() {
		if r := recover(); r != nil {
			m = failure(fmt.Errorf("internal error: %v", r))
		}
	}()
	m, err := f()
	if err != nil {
		return failure(err)
	}
	return m
}

// input returns the granted file of that number.
func (s *server) input(id int) (disk.File, error) {
	g, ok := s.grants[id]
	if !ok || g.access != job.Read {
		return nil, protocol("descriptor %d was not granted for reading", id)
	}
	if s.direct {
		return &directFile{file{fd: g.fd, extended: g.extended}}, nil
	}
	return &file{fd: g.fd, extended: g.extended}, nil
}

// open opens one image. suffix is that of its name, if its format is to be
// detected.
func (s *server) open(l job.Layer, suffix string) (disk.Image, error) {
	f, err := s.imageFile(l)
	if err != nil {
		return nil, err
	}
	var format disk.Format
	if l.Format == "" {
		format, err = s.formats.Detect(f, suffix)
	} else {
		format, err = s.formats.Lookup(l.Format)
	}
	if err != nil {
		return nil, err
	}
	o := disk.OpenOptions{Snapshot: l.Snapshot, Passphrase: l.Secret, Part: (*disk.Part)(l.Part)}
	for _, id := range l.Files {
		if id < 0 {
			o.Files = append(o.Files, nil)
			continue
		}
		f, err := s.input(id)
		if err != nil {
			return nil, err
		}
		o.Files = append(o.Files, f)
	}
	return format.Open(f, o)
}

// imageFile returns the file that an image is, or the disk of what it is in.
func (s *server) imageFile(l job.Layer) (disk.File, error) {
	f, err := s.input(l.ID)
	if err != nil || l.Container == nil {
		return f, err
	}
	outer, err := s.open(job.Layer{ID: l.ID, Format: l.Container.Format, Secret: l.Container.Secret}, "")
	if err == nil {
		err = outer.Info().Refused
	}
	if err != nil {
		return nil, err
	}
	return disk.NewFile(outer, outer.Size()), nil
}

// wipeLayer clears the passphrases of a layer.
func wipeLayer(l job.Layer) {
	clear(l.Secret)
	if l.Container != nil {
		clear(l.Container.Secret)
	}
}

// inspect describes an image. The passphrase is wiped once it is open.
func (s *server) inspect(j *job.Inspect) (*job.Message, error) {
	layer := job.Layer{ID: j.ID, Format: j.Format, Files: j.Files, Snapshot: j.Snapshot, Secret: j.Secret, Container: j.Container, Part: j.Part}
	defer wipeLayer(layer)
	image, err := s.open(layer, j.Suffix)
	if err != nil {
		return nil, err
	}
	inspection := describe(image.Info())
	if j.Format == "" && j.Container == nil && inspection.Format == "raw" {
		f, err := s.input(j.ID)
		if err != nil {
			return nil, err
		}
		if inspection.Resembles, err = s.formats.Resembles(f); err != nil {
			return nil, err
		}
	}
	if j.Verify {
		inspection.Fault = safetext.Limit(verify(image), 1000)
	}
	return s.inspected(inspection)
}

// inspected returns the answer that says what an image is, and sends those of its
// snapshots first that one message has no room for.
func (s *server) inspected(i *job.Inspection) (*job.Message, error) {
	for len(i.Snapshots) > job.MaxSnapshots {
		if err := s.conn.Send(&job.Message{Snapshots: i.Snapshots[:job.MaxSnapshots]}, -1); err != nil {
			return nil, err
		}
		i.Snapshots = i.Snapshots[job.MaxSnapshots:]
	}
	return &job.Message{Inspection: i}, nil
}
