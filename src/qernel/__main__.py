"""`python -m qernel` is the command `qernel`."""

from qernel.cli import main

if __name__ == "__main__":
    main()
