"""`python -m slmctl`: the command line, by whichever Python is asked."""

from slmctl.cli import main

main()
