"""The cost of lxcast, compared with the shell pipeline that it replaces: `make bench`."""
