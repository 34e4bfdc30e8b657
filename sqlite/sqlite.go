package sqlite

import (
	"database/sql"
	"fmt"
	"net/url"
	"runtime"

	"github.com/leathq/leat"
	_ "modernc.org/sqlite" // the driver
)

// pragmas are set on every connection. The page cache is per connection, in KiB
// when negative.
var pragmas = []string{
	"busy_timeout(10000)",
	"journal_mode(WAL)",
	"synchronous(NORMAL)",
	"foreign_keys(ON)",
	"cache_size(-16384)",
	"temp_store(MEMORY)",
}

// Open opens the database in a file, which it creates when there is none: in
// WAL mode with synchronous NORMAL, foreign keys on, and transactions that
// begin as writers unless they are read-only. The directory must exist. Close
// it after the App has ended.
func Open(path string) (*sql.DB, error) {
	if path == "" || path == ":memory:" {
		return nil, &leat.InvalidError{Field: "path of database", Limit: "the name of a file", Got: fmt.Sprintf("%q", path)}
	}
	query := url.Values{"_txlock": {"immediate"}, "_pragma": pragmas}
	name := "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + query.Encode()
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	connections := max(4, 2*runtime.GOMAXPROCS(0))
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	if err := db.Ping(); err != nil { //nolint:noctx // a file is opened or not, there is nothing to wait for
		_ = db.Close() // the first error says what is wrong
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	return db, nil
}
