"""Many files: which file becomes which, several at a time, and what is there already."""
