"""What lxcast costs, beside the shell pipeline that it replaces: `make bench`."""
