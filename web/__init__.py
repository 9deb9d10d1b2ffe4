"""The files of the web page that `codec web` writes: plain modules, which need no build."""
