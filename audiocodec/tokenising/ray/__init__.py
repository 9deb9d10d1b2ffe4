"""codec tokenize --runner ray."""
