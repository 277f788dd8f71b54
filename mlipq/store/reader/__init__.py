"""Many shards read as one dataset: lazily, selected, shuffled, materialised, streamed."""
