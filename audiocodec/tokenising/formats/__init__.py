"""The formats of shards: one file each, and the registry."""
