"""One file for each kind of corpus; ``opening.py`` lists them."""
