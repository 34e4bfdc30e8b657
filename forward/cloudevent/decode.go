package cloudevent

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/leathq/leat"
)

// Unmarshal reads an event in the JSON format, also another sender's that has a
// subject. Meta has all attributes that are no fields of an Event. The error is a
// [*leat.InvalidError].
func Unmarshal(text []byte) (leat.Event, error) {
	values, data, err := split(text)
	if err != nil {
		return leat.Event{}, err
	}
	return Assemble(values, data)
}

// split reads the attributes and the data of an event in the JSON format, and
// does not say whether they are good.
func split(text []byte) (values map[string]string, data []byte, err error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, nil, invalid("event", "a JSON object", "")
	}
	values = make(map[string]string)
	for name, raw := range members {
		switch name {
		case "data":
			data = raw
		case "data_base64":
			var coded string
			if err := json.Unmarshal(raw, &coded); err != nil {
				return nil, nil, invalid(name, "a string", "")
			}
			if data, err = base64.StdEncoding.DecodeString(coded); err != nil {
				return nil, nil, invalid(name, "Base64", "")
			}
		default:
			var value string
			if err := json.Unmarshal(raw, &value); err != nil {
				value = string(raw) // a number or a boolean, from another sender
			}
			values[name] = value
		}
	}
	return values, data, nil
}

// core are the attributes that are fields of an Event, in the order in which
// Attributes returns them.
var core = []string{"specversion", "id", "source", "type", "subject", "time", ContentType}

// InOrder returns attributes in the order in which Attributes returns them.
func InOrder(values map[string]string) []Attribute {
	all := make([]Attribute, 0, len(values))
	for _, name := range core {
		all = append(all, Attribute{name, values[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(core, name) {
			all = append(all, Attribute{name, values[name]})
		}
	}
	return all
}

// Assemble makes an event of its attributes and data.
func Assemble(values map[string]string, data []byte) (leat.Event, error) {
	if values["specversion"] != specVersion {
		return leat.Event{}, invalid("specversion", specVersion, fmt.Sprintf("%q", values["specversion"]))
	}
	for _, name := range []string{"id", "source", "type", "subject"} {
		if values[name] == "" {
			return leat.Event{}, invalid(name, "set", "nothing")
		}
	}
	e := leat.Event{
		ID: values["id"], Stream: values["subject"], Type: values["type"], Source: cutSource(values["source"]),
		ContentType: cmp.Or(values[ContentType], leat.DefaultContentType), Data: data,
	}
	if text := values["time"]; text != "" {
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return leat.Event{}, invalid("time", "as RFC 3339 has it", fmt.Sprintf("%q", text))
		}
		e.Time = t.UTC()
	}
	for _, a := range InOrder(values)[len(core):] {
		e.Meta = append(e.Meta, leat.Attr{Key: a.Name, Value: a.Value})
	}
	return e, nil
}

func invalid(field, limit, got string) error {
	return &leat.InvalidError{Field: field, Limit: limit, Got: got}
}
