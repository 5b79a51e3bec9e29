package cli

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"regexp"

	"instar/internal/keyval"
	"instar/internal/safetext"
	"instar/internal/strerror"
)

// secrets is the flag --object, of whose kinds there is one here: secrets, by
// their ID. The texts are qemu-img's.
type secrets map[string][]byte

func (s *secrets) String() string { return "" }
func (s *secrets) Type() string   { return "object" }

// A helpError is an option that asks for a list of what it may be.
type helpError struct{ text string }

func (e *helpError) Error() string { return e.text }

// Set defines an object: secret,id=ID,data=TEXT or secret,id=ID,file=NAME, with
// format=base64 if it is coded so.
func (s *secrets) Set(value string) error {
	list := keyval.Parse(value)
	if len(list) > 0 && list[0].Bare && !keyval.AsksForHelp(list[:1]) {
		list[0] = keyval.Pair{Name: "qom-type", Value: list[0].Name}
	}
	properties := map[string]string{}
	for k, kv := range list {
		if kv.Bare && !keyval.AsksForHelp(list[k:k+1]) {
			return fmt.Errorf("Expected '=' after parameter '%s'", safetext.Escape(kv.Name))
		}
		properties[kv.Name] = kv.Value
	}
	switch kind, given := properties["qom-type"]; {
	case !given && keyval.AsksForHelp(list):
		return &helpError{"List of user creatable objects:\n  secret\n"}
	case !given:
		return errors.New("Parameter 'qom-type' is missing")
	case kind != "secret":
		return fmt.Errorf("Parameter 'qom-type' does not accept value '%s'", safetext.Escape(kind))
	case keyval.AsksForHelp(list):
		return &helpError{"secret options:\n  data=<string>\n  file=<string>\n  format=<raw|base64>\n"}
	}
	return s.add(properties)
}

// identifier is what an object may be called.
var identifier = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]*$`)

func (s *secrets) add(properties map[string]string) error {
	for name := range properties {
		switch name {
		case "qom-type", "id", "data", "file", "format":
		default:
			return fmt.Errorf("Parameter '%s' is unexpected", safetext.Escape(name))
		}
	}
	id, given := properties["id"]
	switch {
	case !given:
		return errors.New("Parameter 'id' is missing")
	case !identifier.MatchString(id):
		return &hintError{
			text: "Parameter 'id' expects an identifier",
			more: "Identifiers consist of letters, digits, '-', '.', '_', starting with a letter.\n",
		}
	}
	content, err := secretContent(properties)
	if err != nil {
		return err
	}
	if _, exists := (*s)[id]; exists {
		return fmt.Errorf("attempt to add duplicate property '%s' to object (type 'container')", id)
	}
	if *s == nil {
		*s = secrets{}
	}
	(*s)[id] = content
	return nil
}

// secretContent returns the secret that an object defines.
func secretContent(properties map[string]string) ([]byte, error) {
	data, hasData := properties["data"]
	file, hasFile := properties["file"]
	content := []byte(data)
	switch {
	case hasData && hasFile:
		return nil, errors.New("'file' and 'data' are mutually exclusive")
	case hasFile:
		var err error
		if content, err = os.ReadFile(file); err != nil {
			return nil, fmt.Errorf("Unable to read %s: %s", safetext.Escape(file), strerror.Text(err))
		}
	case !hasData:
		return nil, errors.New("Either 'file' or 'data' must be provided")
	}
	switch format := properties["format"]; format {
	case "", "raw":
		return content, nil
	case "base64":
		decoded, err := base64.StdEncoding.DecodeString(string(content))
		if err != nil {
			return nil, errors.New("Base64 data contains invalid characters")
		}
		return decoded, nil
	default:
		return nil, fmt.Errorf("Parameter 'format' does not accept value '%s'", safetext.Escape(format))
	}
}
