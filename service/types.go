package service

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/leathq/leat"
)

// ErrUnknownType says that Types does not know an event's type.
var ErrUnknownType = errors.New("type of event is not declared")

// Types maps the types of events as the log knows them to Go types, and encodes
// events as JSON. E is what all of a service's events are: an interface, best a
// sealed one. It is safe for concurrent use.
type Types[E any] struct {
	encode map[reflect.Type]string
	decode map[string]decoder
	names  []string
}

// decoder reads the JSON of an event of one name into the newest Go type.
type decoder func(data []byte) (any, error)

// A Type is what TypeOf declares.
type Type struct {
	goType reflect.Type
	names  []named
}

type named struct {
	name   string
	decode decoder
}

// An Upcaster turns the events of an older name into a T. Make one with Upcast.
type Upcaster[T any] struct {
	names []upcast[T]
}

type upcast[T any] struct {
	name   string
	decode func(data []byte) (T, error)
}

// TypeOf declares that events of Go type T are called name in the log. Older
// names and forms of it are given as upcasters.
func TypeOf[T any](name string, older ...Upcaster[T]) Type {
	t := Type{goType: reflect.TypeFor[T]()}
	t.names = append(t.names, named{name, func(data []byte) (any, error) { return fromJSON[T](data) }})
	for _, o := range older {
		for _, u := range o.names {
			t.names = append(t.names, named{u.name, func(data []byte) (any, error) { return u.decode(data) }})
		}
	}
	return t
}

// Upcast declares that events called name have the form Old and are read as
// what f makes of them. Still older forms are given as upcasters to Old, so
// that each step needs to know only its neighbour:
//
//	TypeOf[Placed]("order.placed.v2",
//		Upcast("order.placed.v1", toV2, Upcast("order.placed.v0", toV1)))
//
// A name that merely changed is Upcast(old, func(p Placed) Placed { return p }).
func Upcast[Old, New any](name string, f func(Old) New, older ...Upcaster[Old]) Upcaster[New] {
	up := Upcaster[New]{names: []upcast[New]{{name, func(data []byte) (n New, err error) {
		o, err := fromJSON[Old](data)
		if err != nil {
			return n, err
		}
		return f(o), nil
	}}}}
	for _, o := range older {
		for _, u := range o.names {
			up.names = append(up.names, upcast[New]{u.name, func(data []byte) (n New, err error) {
				o, err := u.decode(data)
				if err != nil {
					return n, err
				}
				return f(o), nil
			}})
		}
	}
	return up
}

func fromJSON[T any](data []byte) (T, error) {
	var v T
	err := json.Unmarshal(data, &v)
	return v, err
}

// NewTypes returns the Types of the given declarations. It panics, since it is
// called while a program starts, when a name or a Go type is declared twice, a
// name is empty or longer than leat.MaxNameBytes, or a Go type is not an E.
func NewTypes[E any](types ...Type) *Types[E] {
	ts := &Types[E]{encode: make(map[reflect.Type]string), decode: make(map[string]decoder)}
	event := reflect.TypeFor[E]()
	for _, t := range types {
		if !t.goType.AssignableTo(event) {
			panic(fmt.Sprintf("service: NewTypes: %s is not a %s", t.goType, event))
		}
		if t.goType.Kind() == reflect.Interface {
			panic(fmt.Sprintf("service: NewTypes: %s is an interface; declare the types that implement it", t.goType))
		}
		if name, twice := ts.encode[t.goType]; twice {
			panic(fmt.Sprintf("service: NewTypes: %s is declared as %q and as %q", t.goType, name, t.names[0].name))
		}
		ts.encode[t.goType] = t.names[0].name
		for _, n := range t.names {
			if n.name == "" || len(n.name) > leat.MaxNameBytes {
				panic(fmt.Sprintf("service: NewTypes: the name %q of %s must have 1 to %d bytes", n.name, t.goType, leat.MaxNameBytes))
			}
			if _, twice := ts.decode[n.name]; twice {
				panic(fmt.Sprintf("service: NewTypes: %q is declared twice, the second time for %s", n.name, t.goType))
			}
			ts.decode[n.name] = n.decode
			ts.names = append(ts.names, n.name)
		}
	}
	return ts
}

// Names returns the names of all declared types, older ones included, in the
// order of their declaration: what Filter.Types needs to see them all.
func (ts *Types[E]) Names() []string { return slices.Clone(ts.names) }

// Encode returns the type and data of an event. The error wraps ErrUnknownType
// when its Go type is not declared.
func (ts *Types[E]) Encode(e E) (typ string, data []byte, err error) {
	typ, ok := ts.encode[reflect.TypeOf(e)]
	if !ok {
		return "", nil, fmt.Errorf("encode event: %w: Go type %T", ErrUnknownType, e)
	}
	if data, err = json.Marshal(e); err != nil {
		return "", nil, fmt.Errorf("encode event %s: %w", typ, err)
	}
	return typ, data, nil
}

// Decode returns the event that was recorded, brought to its newest form. The
// error is a [*DecodeError], which wraps ErrUnknownType when its type is not
// declared. JSON members that the Go type does not have are ignored.
func (ts *Types[E]) Decode(r leat.Recorded) (E, error) {
	var none E
	decode, ok := ts.decode[r.Type]
	if !ok {
		return none, newDecodeError(r, ErrUnknownType)
	}
	v, err := decode(r.Data)
	if err != nil {
		return none, newDecodeError(r, err)
	}
	return v.(E), nil
}

// A DecodeError names an event that could not be decoded.
type DecodeError struct {
	Stream      string
	Version     uint64
	ID          string
	Type        string
	ContentType string
	Err         error // ErrUnknownType, or why the data is not what it should be
}

func newDecodeError(r leat.Recorded, err error) error {
	return &DecodeError{r.Stream, r.Version, r.ID, r.Type, r.ContentType, err}
}

func (e *DecodeError) Error() string {
	kind := e.Type
	if e.ContentType != "" && e.ContentType != leat.DefaultContentType {
		kind += " as " + e.ContentType
	}
	return fmt.Sprintf("decode %s of stream %q, version %d (%s): %v", kind, e.Stream, e.Version, e.ID, e.Err)
}

func (e *DecodeError) Unwrap() error { return e.Err }
