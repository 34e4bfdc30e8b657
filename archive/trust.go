package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/leathq/leat"
)

// Whose word counts. An archive is signed with the key in log.json. When another
// one follows, an object in the folder of keys says so: it is signed with the new
// key and names those before it. Trust goes from a key to those it vouches for and
// no further: who can write to the store can add an object with a key of their
// own, and nobody who was told which key to trust believes it.

// ErrOtherKey says that an archive is signed with another key than that which
// was given. It is a [leat.ErrDenied].
var ErrOtherKey = fmt.Errorf("%w: another key", leat.ErrDenied)

// A succession says that a key follows others.
type succession struct {
	log    string
	key    string   // public
	before []string // public
	note   string   // as signed with key
}

func (s *succession) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "leat/%s\nkey %s\n", s.log, s.key)
	for _, k := range s.before {
		fmt.Fprintf(&b, "before %s\n", k)
	}
	return b.String()
}

func (s *succession) sign(k *Key) error {
	signed, err := note.Sign(&note.Note{Text: s.text()}, k.signer)
	s.note = string(signed)
	return err
}

// parseSuccession reads a succession that is signed with the key that it is
// about.
func parseSuccession(log, signed string) (*succession, error) {
	s := &succession{log: log, note: signed}
	for line := range strings.Lines(signed) {
		if k, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "key "); ok && s.key == "" {
			s.key = k
		} else if k, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "before "); ok {
			s.before = append(s.before, k)
		}
	}
	keys, err := verifiers([]string{s.key})
	if err != nil {
		return nil, err
	}
	text, err := openNote(signed, keys)
	if err != nil {
		return nil, err
	}
	if text != s.text() || strings.Count(signed, "\n") != strings.Count(text, "\n")+2 {
		return nil, errors.New("it is about something else")
	}
	return s, nil
}

// succession returns what a key says of those before it, nil when it says
// nothing.
func (a *Archive) succession(ctx context.Context, v note.Verifier) (*succession, error) {
	object := a.object(keysFolder + keyObject(v))
	data, err := a.store.Get(ctx, object)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s, err := parseSuccession(a.desc.Log, string(data))
	if err != nil {
		return nil, corrupt(object, "does not say which keys it follows: %v", err)
	}
	if keys, err := verifiers([]string{s.key}); err != nil || keyObject(keys[0]) != keyObject(v) {
		return nil, corrupt(object, "is about the key %s", s.key)
	}
	return s, nil
}

// trusted returns the keys whose signatures count for who trusts the given public
// ones, and the archive's own word when there are none.
func (a *Archive) trusted(ctx context.Context, public []string) ([]note.Verifier, error) {
	if len(public) == 0 {
		return a.named(ctx)
	}
	keys, err := verifiers(public)
	if err != nil {
		return nil, err
	}
	for i, given := range keys[:len(keys):len(keys)] {
		s, err := a.succession(ctx, given)
		if err != nil {
			return nil, err
		}
		if s == nil || s.key != strings.TrimSpace(public[i]) {
			continue
		}
		before, err := verifiers(s.before)
		if err != nil {
			return nil, err
		}
		keys = append(keys, before...)
	}
	return distinct(keys), nil
}

// named returns the keys that the archive itself names.
func (a *Archive) named(ctx context.Context) ([]note.Verifier, error) {
	all := []string{a.desc.Key}
	for name, err := range a.store.List(ctx, a.object(keysFolder), "") {
		if err != nil {
			return nil, err
		}
		object := a.object(keysFolder + name)
		data, err := a.get(ctx, object)
		if err != nil {
			return nil, err
		}
		s, err := parseSuccession(a.desc.Log, string(data))
		if err != nil {
			return nil, corrupt(object, "does not say which keys it follows: %v", err)
		}
		if v, err := verifiers([]string{s.key}); err != nil || keyObject(v[0]) != name {
			return nil, corrupt(object, "is about the key %s", s.key)
		}
		all = append(all, s.key)
	}
	keys, err := verifiers(all)
	if err != nil {
		return nil, corrupt(a.object(descriptionName), "holds no key: %v", err)
	}
	return distinct(keys), nil
}

// distinct leaves out keys that package note could not tell apart.
func distinct(keys []note.Verifier) []note.Verifier {
	var all []note.Verifier
	for _, k := range keys {
		if !slices.ContainsFunc(all, func(other note.Verifier) bool { return other.Name() == k.Name() && other.KeyHash() == k.KeyHash() }) {
			all = append(all, k)
		}
	}
	return all
}

// admit makes an archive, opened on its own word, trust a key and what that
// vouches for, and nothing else. A key that the archive does not know is refused
// unless it is to be a new one; then it vouches for all that are there.
func (a *Archive) admit(ctx context.Context, k *Key, anew bool) error {
	given, err := verifiers([]string{k.Public()})
	if err != nil {
		return err
	}
	before := a.keys
	known, err := a.succession(ctx, given[0])
	if err != nil {
		return err
	}
	first := a.desc.Key == k.Public()
	switch {
	case known == nil && !first && !anew:
		return fmt.Errorf("%w: the archive of log %s is signed with %s, and the key given is %s: give the other, or say that this is a new one",
			ErrOtherKey, a.desc.Log, a.desc.Key, k.Public())
	case known == nil && anew && (!first || len(before) > 1):
		if err := a.vouch(ctx, k, given[0]); err != nil {
			return err
		}
	}
	if a.keys, err = a.trusted(ctx, []string{k.Public()}); err != nil {
		return err
	}
	return a.desc.verify(a.object(descriptionName), a.keys)
}

// vouch records that a key follows all those that the archive names.
func (a *Archive) vouch(ctx context.Context, k *Key, v note.Verifier) error {
	s := &succession{log: a.desc.Log, key: k.Public()}
	for name, err := range a.store.List(ctx, a.object(keysFolder), "") {
		if err != nil {
			return err
		}
		data, err := a.get(ctx, a.object(keysFolder+name))
		if err != nil {
			return err
		}
		other, err := parseSuccession(a.desc.Log, string(data))
		if err != nil {
			return err
		}
		s.before = append(s.before, other.key)
	}
	if a.desc.Key != k.Public() {
		s.before = append([]string{a.desc.Key}, s.before...)
	}
	if err := s.sign(k); err != nil {
		return err
	}
	err := a.store.Create(ctx, a.object(keysFolder+keyObject(v)), []byte(s.note))
	if errors.Is(err, fs.ErrExist) {
		return nil // what it says is read next
	}
	return err
}
