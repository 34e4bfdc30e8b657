package engine

// WithFileBytes returns options for a log with files of blocks of about that
// size.
func (o Options) WithFileBytes(bytes int64) Options {
	o.fileBytes = bytes
	return o
}
