package s3

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
)

// List implements [archive.Store].
func (s *Store) List(ctx context.Context, folder, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		prefix := s.prefix
		if folder != "" {
			folder = strings.TrimSuffix(folder, "/")
			if err := archive.CheckName(folder); err != nil {
				yield("", err)
				return
			}
			prefix += folder + "/"
		}
		if err := s.list(ctx, prefix, after, func(name string) bool { return yield(name, nil) }); err != nil {
			yield("", fmt.Errorf("list objects in %s: %w", s.url(prefix), err))
		}
	}
}

// list calls yield with what is directly below a prefix, until it returns false.
func (s *Store) list(ctx context.Context, prefix, after string, yield func(string) bool) error {
	in := &s3.ListObjectsV2Input{Bucket: aws.String(s.bucket), Prefix: aws.String(prefix), Delimiter: aws.String("/")}
	if after != "" {
		in.StartAfter = aws.String(prefix + after)
	}
	last := ""
	for {
		var page *s3.ListObjectsV2Output
		err := s.try(ctx, "s3:ListBucket on the bucket", 0, func(ctx context.Context, _ *watch) (err error) {
			page, err = s.client.ListObjectsV2(ctx, in)
			return err
		})
		if err != nil {
			return err
		}
		for _, name := range names(page, prefix) {
			switch {
			// A folder comes before what is in it, and so may stand before "after".
			case name <= after, name == last, prefix == s.prefix && strings.HasPrefix(name, ownPrefix):
				continue
			case name < last:
				return fmt.Errorf("%w: the store lists %q after %q, which is not the order of bytes: use another", leat.ErrUnsupported, name, last)
			case !yield(name):
				return nil
			}
			last = name
		}
		if !aws.ToBool(page.IsTruncated) {
			return nil
		}
		next := aws.ToString(page.NextContinuationToken)
		if next == "" || next == aws.ToString(in.ContinuationToken) {
			return fmt.Errorf("%w: the store says that there is more to list, and not where: use another", leat.ErrUnsupported)
		}
		in.ContinuationToken = aws.String(next)
	}
}

// names returns the names on a page, without those that no Store has.
func names(page *s3.ListObjectsV2Output, prefix string) []string {
	var all []string
	add := func(key *string) {
		name, ok := strings.CutPrefix(aws.ToString(key), prefix)
		if ok && archive.CheckName(strings.TrimSuffix(name, "/")) == nil {
			all = append(all, name)
		}
	}
	for _, o := range page.Contents {
		add(o.Key)
	}
	for _, p := range page.CommonPrefixes {
		add(p.Prefix)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
