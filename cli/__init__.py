"""The command `codec`: words and files in, words and files out. Installed as `audiocodec_cli`."""
