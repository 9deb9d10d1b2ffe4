"""codec prepare: a manifest and the statistics of a corpus."""
