"""`python -m slmctl`: the command line, for a child that is started by this very Python."""

from slmctl.cli import main

main()
