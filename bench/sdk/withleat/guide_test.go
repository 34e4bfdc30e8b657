package withleat

import (
	"os"
	"strings"
	"testing"
)

// What is compared is what the guide builds, but for the name of the aggregate,
// what is said of too little, and the statement of the read model, which all
// candidates share.
func TestIsThatOfTheGuide(t *testing.T) {
	ours, _, _ := strings.Cut(declarations(t, "account.go"), "\nfunc Balances(")
	ours = strings.ReplaceAll(ours, "Accounts", "accounts")
	theirs := strings.Replace(declarations(t, "../../../examples/account/account.go"),
		`fmt.Errorf("%w: %d of %d pence", ErrNotEnough, a.Pence, pence)`, "ErrNotEnough", 1)
	if ours != theirs {
		t.Errorf("account.go has\n%s\nand the guide\n%s", ours, theirs)
	}
}

// declarations returns what follows the imports of a file.
func declarations(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "\n)\n\n")
	return after
}
