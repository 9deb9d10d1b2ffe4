"""Many files: which file becomes which, several at a time, and which outputs already exist."""
