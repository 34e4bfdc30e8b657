package archive

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/leathq/leat"
)

// Names of objects below "<log>/". Numbers are padded to the digits of the
// greatest uint64, so that names sort as numbers do.

const (
	descriptionName = "log.json"
	manifestsFolder = "manifests/"
	keysFolder      = "keys/"
	epochsFolder    = "epochs/"
)

func manifestFolder(shard leat.ShardID) string { return manifestsFolder + string(shard) + "/" }

// folderShard reads the shard from the name of a folder of manifests. There may
// come to be other folders beside them.
func folderShard(name string) (leat.ShardID, bool) {
	digits := strings.TrimSuffix(strings.TrimPrefix(name, "shardId-"), "/")
	n, err := strconv.ParseUint(digits, 10, 32)
	shard := leat.ShardNumber(int(n))
	return shard, err == nil && name == string(shard)+"/"
}

func manifestName(shard leat.ShardID, number uint64) string {
	return fmt.Sprintf("%s%020d.json", manifestFolder(shard), number)
}

// manifestNumber reads the number from a name in a shard's manifest folder. A
// folder may come to hold other things; those are no manifests.
func manifestNumber(base string) (uint64, bool) {
	digits, ok := strings.CutSuffix(base, ".json")
	if !ok || len(digits) != 20 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}

// epochName returns the name of the object that a restore took an epoch with.
func epochName(epoch uint64) string { return fmt.Sprintf("%s%020d.json", epochsFolder, epoch) }

// keyObject returns the name, in the folder of keys, of one that followed the
// first.
func keyObject(v note.Verifier) string { return fmt.Sprintf("%08x", v.KeyHash()) }

// segmentName returns the name of the segment that holds a range of a shard.
func segmentName(shard leat.ShardID, first, last uint64) string {
	return fmt.Sprintf("segments/%s/%020d-%020d.parquet", shard, first, last)
}

// segmentNameOf returns the name of that segment when its own name is taken by
// other bytes: those of an archiver that was killed before it committed them,
// and that was built with another compressor or read another epoch.
func segmentNameOf(shard leat.ShardID, first, last uint64, sum string) string {
	return fmt.Sprintf("segments/%s/%020d-%020d-%s.parquet", shard, first, last, sum)
}
