"""Training of a context model: `codec train-context`."""
