// Package metajson writes the attributes of events as a JSON object, for
// databases.
package metajson

import (
	"encoding/json"

	"github.com/leathq/leat"
)

// Encode returns attributes as a JSON object.
func Encode(m leat.Meta) (string, error) {
	object := make(map[string]string, len(m))
	for _, a := range m {
		object[a.Key] = a.Value
	}
	b, err := json.Marshal(object)
	return string(b), err
}

// Decode is the inverse of Encode. Without attributes it returns nil.
func Decode(text string) (leat.Meta, error) {
	var object map[string]string
	if err := json.Unmarshal([]byte(text), &object); err != nil || len(object) == 0 {
		return nil, err
	}
	pairs := make([]string, 0, 2*len(object))
	for key, value := range object {
		pairs = append(pairs, key, value)
	}
	return leat.NewMeta(pairs...), nil
}
