package service_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
)

// Types that embed one which writes itself.
type (
	lostCount struct {
		time.Time
		Count int
	}
	deepCount struct{ lostCount }
	onlyTime  struct{ time.Time }
	twoTimes  struct {
		time.Time
		onlyTime
		Count int
	}
	ownMethods struct {
		time.Time
		Count int
	}
	ownByPointer struct {
		time.Time
		Count int
	}
	ownGeneric[T any] struct {
		time.Time
		Count T
	}
	maybeTime struct{ *time.Time }
	twoWays   struct {
		onlyTime
		lostText
	}
	lostText struct{ Text string }
)

type timed[T any] struct {
	At    time.Time
	Count T
}

func (o ownMethods) MarshalJSON() ([]byte, error) { return json.Marshal(timed[int]{o.Time, o.Count}) }

func (o *ownMethods) UnmarshalJSON(data []byte) error {
	var t timed[int]
	err := json.Unmarshal(data, &t)
	o.Time, o.Count = t.At, t.Count
	return err
}

func (o *ownByPointer) MarshalJSON() ([]byte, error) {
	return json.Marshal(timed[int]{o.Time, o.Count})
}

func (o *ownByPointer) UnmarshalJSON(data []byte) error {
	return (*ownMethods)(o).UnmarshalJSON(data)
}

func (o ownGeneric[T]) MarshalJSON() ([]byte, error) { return json.Marshal(timed[T]{o.Time, o.Count}) }

func (o *ownGeneric[T]) UnmarshalJSON(data []byte) error {
	var t timed[T]
	err := json.Unmarshal(data, &t)
	o.Time, o.Count = t.At, t.Count
	return err
}

// Types of which JSON has one name for two fields.
type (
	copied struct {
		A int
		B int `json:"A"`
	}
	named  struct{ Name string }
	titled struct {
		Title string `json:"Name"`
	}
	bothNamed struct {
		named
		titled
	}
	shadowed struct {
		named
		Name string
	}
	tagged struct {
		Named named `json:"named"`
		Name  string
	}
	recursive struct {
		*recursive //nolint:unused // JSON looks at it
		Name       string
	}
	apart struct {
		named
		Other string
		Next  *apart
	}
)

// A state of which JSON would keep only a part is refused, and named.
func TestSnapshotsOfWhatJSONKeepsAPartOf(t *testing.T) {
	for field, err := range map[string]error{
		"lostCount":        firstUse[lostCount](),
		"deepCount":        firstUse[deepCount](),
		"twoTimes":         firstUse[twoTimes](),
		"twoWays":          firstUse[twoWays](),
		"maybeTime":        firstUse[maybeTime](),
		"[]":               firstUse[map[string]lostCount](),
		"copied.B":         firstUse[copied](),
		"bothNamed.titled": firstUse[bothNamed](),
		"shadowed.Name":    firstUse[shadowed](),
		"recursive":        firstUse[recursive](),
	} {
		if !errors.Is(err, leat.ErrInvalid) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v, want an InvalidError that names it", field, err)
		}
	}
	for name, err := range map[string]error{
		"onlyTime":           firstUse[onlyTime](),
		"a struct of it":     firstUse[struct{ onlyTime }](),
		"ownMethods":         firstUse[ownMethods](),
		"ownByPointer":       firstUse[ownByPointer](),
		"ownGeneric[int]":    firstUse[ownGeneric[int]](),
		"ownGeneric[string]": firstUse[*ownGeneric[string]](),
		"tagged":             firstUse[tagged](),
		"apart":              firstUse[apart](),
	} {
		if err != nil {
			t.Errorf("%s: %v, want that it is kept", name, err)
		}
	}
}
