package service

import (
	"cmp"
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"runtime"
	"strings"

	"github.com/leathq/leat"
)

// shapeOf returns a digest of what a type looks like in JSON, so that a type
// that changed is noticed, or an error that names what JSON would leave out or
// cannot read back.
func shapeOf[S any]() (string, error) {
	w := shapeWalk{seen: make(map[reflect.Type]bool)}
	t := reflect.TypeFor[S]()
	if err := w.walk(t, t.String()); err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(w.text.String()))
	return hex.EncodeToString(sum[:8]), nil
}

type shapeWalk struct {
	text strings.Builder
	seen map[reflect.Type]bool
}

var (
	jsonMarshaler   = reflect.TypeFor[json.Marshaler]()
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// bad is the error of what cannot be kept. path is where it is in the state.
func bad(path, why string) error {
	return &leat.InvalidError{
		Field: path, Got: why,
		Limit: "something that JSON keeps, or of a type with MarshalJSON and UnmarshalJSON",
	}
}

func (w *shapeWalk) walk(t reflect.Type, path string) error {
	fmt.Fprintf(&w.text, "%s ", t.Kind())
	if w.seen[t] {
		fmt.Fprintf(&w.text, "%s ", t)
		return nil
	}
	w.seen[t] = t.Name() != "" // only those can be recursive
	switch own, err := ownForm(t, path); {
	case err != nil:
		return err
	case own:
		fmt.Fprintf(&w.text, "%s ", t)
		return nil
	}
	switch t.Kind() {
	case reflect.Struct:
		return w.fields(t, path)
	case reflect.Map:
		if k := t.Key(); !keyKind(k.Kind()) {
			if own, err := ownForm(k, path+"[key]"); err != nil || !own {
				return bad(path, "a map by "+k.String())
			}
		}
		fmt.Fprintf(&w.text, "%s ", t.Key().Kind())
		return w.walk(t.Elem(), path+"[]")
	case reflect.Slice, reflect.Pointer:
		return w.walk(t.Elem(), path+"[]")
	case reflect.Array:
		fmt.Fprintf(&w.text, "%d ", t.Len())
		return w.walk(t.Elem(), path+"[]")
	case reflect.Interface, reflect.Func, reflect.Chan, reflect.UnsafePointer, reflect.Complex64, reflect.Complex128, reflect.Uintptr:
		return bad(path, "of type "+t.String())
	}
	return nil
}

func (w *shapeWalk) fields(t reflect.Type, path string) error {
	if err := checkNames(t, path, make(map[string]string), make(map[reflect.Type]bool)); err != nil {
		return err
	}
	w.text.WriteString("{")
	for f := range t.Fields() {
		name := path + "." + f.Name
		tag := f.Tag.Get("json")
		switch embedded := f.Anonymous && f.Type.Kind() == reflect.Struct; {
		case !f.IsExported() && !embedded:
			return bad(name, "not exported")
		case tag == "-":
			return bad(name, `tagged json:"-"`)
		}
		fmt.Fprintf(&w.text, "%s %q ", f.Name, tag)
		if err := w.walk(f.Type, name); err != nil {
			return err
		}
	}
	w.text.WriteString("} ")
	return nil
}

// checkNames returns an error if JSON has one name for two fields of a struct and
// what is embedded in it, of which it leaves out at least one. names has the paths
// of those that are known by the name that JSON has for them.
func checkNames(t reflect.Type, path string, names map[string]string, seen map[reflect.Type]bool) error {
	if seen[t] {
		return nil
	}
	seen[t] = true
	for f := range t.Fields() {
		at := path + "." + f.Name
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if f.Anonymous && name == "" && inner.Kind() == reflect.Struct { // its fields are taken for those of t
			if own, err := ownForm(inner, at); err != nil || own {
				return cmp.Or(err, bad(at, "embedded, so that JSON takes its fields and not what it writes itself"))
			}
			if err := checkNames(inner, at, names, seen); err != nil {
				return err
			}
			continue
		}
		name = cmp.Or(name, f.Name)
		if other, twice := names[name]; twice {
			return bad(at, fmt.Sprintf("named %q in JSON, as %s is", name, other))
		}
		names[name] = at
	}
	return nil
}

// ownForm reports whether a type writes and reads itself.
func ownForm(t reflect.Type, path string) (bool, error) {
	p := reflect.PointerTo(t)
	for _, way := range [][2]reflect.Type{{jsonMarshaler, jsonUnmarshaler}, {textMarshaler, textUnmarshaler}} {
		switch writes, reads := p.Implements(way[0]), p.Implements(way[1]); {
		case writes && reads:
			return true, checkPromoted(t, path, way)
		case writes || reads:
			return false, bad(path, fmt.Sprintf("of type %s, which has only one of the two", t))
		}
	}
	return false, nil
}

// checkPromoted returns an error if a struct has its methods from what it embeds,
// so that they leave out its other fields.
func checkPromoted(t reflect.Type, path string, methods [2]reflect.Type) error {
	if t.Kind() != reflect.Struct {
		return nil
	}
	for _, m := range methods {
		name := m.Method(0).Name
		for f := range t.Fields() {
			if !f.Anonymous || !f.Type.Implements(m) && !reflect.PointerTo(f.Type).Implements(m) || !promoted(t, name) {
				continue
			}
			if t.NumField() > 1 || f.Type.Kind() == reflect.Pointer {
				return bad(path, fmt.Sprintf("of type %s, which has only %s of the embedded %s", t, name, f.Name))
			}
			if err := checkPromoted(f.Type, path, methods); err != nil {
				return err
			}
		}
	}
	return nil
}

// promoted reports whether the compiler has made a method of a struct, and not who
// wrote the type.
func promoted(t reflect.Type, name string) bool {
	m, ok := t.MethodByName(name)
	if !ok {
		m, _ = reflect.PointerTo(t).MethodByName(name) // it has a pointer for a receiver
	}
	pc := m.Func.Pointer()
	file, _ := runtime.FuncForPC(pc).FileLine(pc)
	return file == "<autogenerated>"
}

// keyKind reports whether JSON keeps the keys of a map of this kind.
func keyKind(k reflect.Kind) bool {
	return k == reflect.String || k >= reflect.Int && k <= reflect.Uint64
}
