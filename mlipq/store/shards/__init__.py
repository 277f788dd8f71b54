"""One shard file: its two formats, read from disk or from afar, written, checked."""
