"""`python -m audiocodec_cli`: the command where its script is not on the PATH."""

from .main import main

main()
