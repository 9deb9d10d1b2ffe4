"""`python -m audiocodec`: the command `codec` where its script is not on the PATH."""

from audiocodec_cli.main import main

if __name__ == "__main__":
    main()
