package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/leathq/leat"
)

type logTrimCmd struct {
	logFlag
	Shard leat.ShardID `required:"" placeholder:"SHARD" help:"The shard, such as shardId-000000000000."`
	Below uint64       `required:"" placeholder:"SEQ" help:"The first sequence to keep. One above the head forgets all."`
	JSON  bool         `help:"Print one JSON object."`
}

func (logTrimCmd) Help() string {
	return `
Removes the events of a shard below a sequence, for good: archive them first. Never divides an Append. What is kept of a
stream is its end, and versions and event IDs stay known, so that nothing is recorded twice. The trim itself is recorded
in the stream $log. A shard is trimmed only after those it continues.

	$ leat log show $LEAT_LOG
	$ leat log trim --shard shardId-000000000000 --below 5000000
`
}

func (cmd logTrimCmd) Run(ctx context.Context, c console) error {
	return cmd.with(ctx, func(log leat.Log) error {
		trimmer, ok := log.(leat.Trimmer)
		if !ok {
			return fmt.Errorf("trim %s: %w", cmd.LogURL, leat.ErrUnsupported)
		}
		oldest, err := trimmer.Trim(ctx, cmd.Shard, cmd.Below)
		if err != nil {
			return err
		}
		if cmd.JSON {
			return json.NewEncoder(c.out).Encode(map[string]any{"shard": cmd.Shard, "oldest": oldest})
		}
		_, err = fmt.Fprintf(c.out, "%s is kept from sequence %d on\n", cmd.Shard, oldest)
		return err
	})
}
