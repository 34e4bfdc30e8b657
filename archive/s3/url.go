package s3

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
)

// A location is what a URL says.
type location struct {
	bucket    string
	prefix    string // ends with a slash, or is empty
	endpoint  string
	region    string
	profile   string
	pathStyle bool
}

// parseURL reads "s3://BUCKET/PREFIX?endpoint=…&region=…&profile=…&path-style=…".
func parseURL(text string) (location, error) {
	fail := func(limit string) (location, error) {
		return location{}, &leat.InvalidError{Field: "archive store", Limit: limit, Got: text}
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "s3" || u.Host == "" || u.User != nil || u.Port() != "" || u.Fragment != "" {
		return fail("s3://BUCKET/PREFIX, with credentials in the environment and not in the URL")
	}
	if strings.HasSuffix(u.Host, "--x-s3") {
		return fail("a general purpose bucket: directory buckets do not list objects in order")
	}
	l := location{bucket: u.Host}
	if path := strings.Trim(u.Path, "/"); path != "" {
		if err := archive.CheckName(path); err != nil {
			return location{}, fmt.Errorf("the prefix in %s: %w", text, err)
		}
		l.prefix = path + "/"
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return fail("followed by options as in a URL: ?region=eu-west-1&profile=backup")
	}
	pathStyle := ""
	options := map[string]*string{"endpoint": &l.endpoint, "region": &l.region, "profile": &l.profile, "path-style": &pathStyle}
	for key, values := range query {
		option := options[key]
		if option == nil || len(values) != 1 || values[0] == "" {
			return fail("with no other options than endpoint, region, profile and path-style, each once")
		}
		*option = values[0]
	}
	if l.endpoint != "" {
		e, err := url.Parse(l.endpoint)
		if err != nil || e.Scheme != "http" && e.Scheme != "https" || e.Host == "" {
			return fail("with an endpoint such as http://127.0.0.1:7080")
		}
	}
	// Nearly all stores of one's own answer under one name for all buckets.
	l.pathStyle = l.endpoint != ""
	if pathStyle != "" {
		if l.pathStyle, err = strconv.ParseBool(pathStyle); err != nil {
			return fail("with path-style=true or path-style=false")
		}
	}
	return l, nil
}

// url returns the URL of a key, for messages.
func (l location) url(key string) string { return "s3://" + l.bucket + "/" + key }

// endpointOption returns what the command aws has to be told besides a bucket.
func (l location) endpointOption() string {
	if l.endpoint == "" {
		return ""
	}
	return "--endpoint-url " + l.endpoint + " "
}
