package archive

import (
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/leathq/leat"
)

// columns is the schema of a segment, in the order of its columns.
//
// Numbers are signed, because several readers know no others; a log would have
// to hold more than 9·10^18 events to notice. Times are there twice, to the
// microsecond as timestamps and to the nanosecond as numbers, because of
// timestamps in nanoseconds DuckDB drops the last three digits and Spark refuses
// the file.
type columns struct {
	Shard       string            `parquet:"shard,dict"`
	Seq         int64             `parquet:"seq,delta"`
	Commit      int64             `parquet:"commit,delta"`
	EventID     string            `parquet:"event_id,plain"`
	Stream      string            `parquet:"stream,dict"`
	Category    string            `parquet:"category,dict"`
	Version     int64             `parquet:"version,delta"`
	Type        string            `parquet:"type,dict"`
	Source      string            `parquet:"source,dict"`
	Time        int64             `parquet:"time,timestamp(microsecond:utc),delta"`
	TimeNanos   int64             `parquet:"time_ns,delta"`
	At          int64             `parquet:"at,timestamp(microsecond:utc),delta"`
	AtNanos     int64             `parquet:"at_ns,delta"`
	ContentType string            `parquet:"content_type,dict"`
	Data        []byte            `parquet:"data,plain"`
	Meta        map[string]string `parquet:"meta" parquet-key:",dict" parquet-value:",plain"`
	LeafHash    [32]byte          `parquet:"leaf_hash,uncompressed"`
}

// Leaf columns of the schema, as Parquet numbers them.
const (
	colShard = iota
	colSeq
	colCommit
	colEventID
	colStream
	colCategory
	colVersion
	colType
	colSource
	colTime
	colTimeNanos
	colAt
	colAtNanos
	colContentType
	colData
	colMetaKey
	colMetaValue
	colLeafHash
	numColumns
)

var segmentSchema = parquet.NewSchema("event", parquet.SchemaOf(columns{}))

// The bytes of a segment are determined by its events and this program, so that
// two archivers make the same object of the same events.
func segmentOptions(codec *zstd.Codec) []parquet.WriterOption {
	return []parquet.WriterOption{
		segmentSchema,
		parquet.CreatedBy("leat", "1", ""),
		parquet.KeyValueMetadata("leat.format", "1"),
		parquet.Compression(codec),
		parquet.DataPageVersion(1), // every reader knows it
		parquet.DataPageStatistics(false),
		parquet.PageBufferSize(pageBytes),
		parquet.WriteBufferSize(0), // it is written to memory
		// A dictionary has no greatest size: of a column that leaves its dictionary,
		// the library puts only the values before that into the Bloom filter.
		parquet.BloomFilters(parquet.SplitBlockFilter(filterBits, "stream")),
		parquet.SkipPageBounds("data"),
		parquet.SkipPageBounds("meta", "key_value", "key"),
		parquet.SkipPageBounds("meta", "key_value", "value"),
		parquet.SkipPageBounds("leaf_hash"),
	}
}

// sortedOptions are those of compacted files: as segments, but of many row
// groups, with small pages and more Bloom filters, which are kept apart until the
// file is finished.
func sortedOptions(codec *zstd.Codec, filters parquet.BufferPool) []parquet.WriterOption {
	return append(segmentOptions(codec),
		parquet.PageBufferSize(sortedPageBytes),
		parquet.SortingWriterConfig(parquet.SortingColumns(parquet.Ascending("stream"), parquet.Ascending("version"))),
		parquet.ColumnIndexSizeLimit(func([]string) int { return leat.MaxNameBytes }),
		parquet.BloomFilters(
			parquet.SplitBlockFilter(filterBits, "event_id"),
			parquet.SplitBlockFilter(filterBits, "stream"),
			parquet.SplitBlockFilter(filterBits, "meta", "key_value", "value"),
		),
		parquet.DeferBloomFiltersWithBuffers(filters),
	)
}

const (
	sortedPageBytes  = 32 << 10
	pageBytes        = 256 << 10
	filterBits       = 10 // of a Bloom filter for each value: one in a hundred is taken for another
	compressionLevel = zstd.SpeedFastest
)
