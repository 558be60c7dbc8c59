"""``python -m fibtomo`` is the command line."""

from fibtomo.cli import main

if __name__ == "__main__":
    main()
