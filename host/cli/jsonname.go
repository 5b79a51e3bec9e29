package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"instar/internal/keyval"
)

// jsonPrefix begins the name of an image that is a JSON object: the options of
// --image-opts. That holds on the command line alone: what an image names is
// never read in this way.
const jsonPrefix = "json:"

// imageFromJSON reads the name of an image that is a JSON object.
func (s *settings) imageFromJSON(given string) (image, error) {
	list, err := optionsInJSON(strings.TrimPrefix(given, jsonPrefix))
	if err != nil {
		return image{}, couldNotOpen(given, err.Error())
	}
	if s.format.given {
		for _, kv := range list {
			if kv.Name == "driver" && kv.Value != s.format.name {
				return image{}, couldNotOpen(given, "Driver specified twice")
			}
		}
		list = append(list, keyval.Pair{Name: "driver", Value: s.format.name})
	}
	return s.imageFromList(given, list)
}

// optionsInJSON returns the options that an object has, by name: what is in an
// object or array within it has the name of that before its own.
func optionsInJSON(text string) ([]keyval.Pair, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var value any
	switch err := d.Decode(&value); {
	case errors.Is(err, io.EOF):
		return nil, notJSON("Expecting a JSON value")
	case err != nil:
		return nil, notJSON("JSON parse error")
	case strings.TrimSpace(text[d.InputOffset():]) != "":
		return nil, notJSON("Expecting at most one JSON value")
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("Invalid JSON object given")
	}
	return flatten(nil, "", object), nil
}

func notJSON(why string) error { return fmt.Errorf("Could not parse the JSON options: %s", why) }

// flatten appends the options that a value has under a name. Package json bounds
// how deep it is.
func flatten(list []keyval.Pair, name string, value any) []keyval.Pair {
	below := func(key string) string {
		if name == "" {
			return key
		}
		return name + "." + key
	}
	switch v := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			list = flatten(list, below(key), v[key])
		}
	case []any:
		for k, item := range v {
			list = flatten(list, below(strconv.Itoa(k)), item)
		}
	case bool:
		list = append(list, keyval.Pair{Name: name, Value: map[bool]string{true: "on", false: "off"}[v]})
	case json.Number:
		list = append(list, keyval.Pair{Name: name, Value: v.String()})
	case string:
		list = append(list, keyval.Pair{Name: name, Value: v})
	}
	return list
}
