"""Audio files and pipes: reading, writing and resampling, one interface for every format."""
