"""`python -m lxcast` is the command `lxcast`."""

from lxcast.cli import main

if __name__ == "__main__":
    main()
