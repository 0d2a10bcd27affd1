"""`python -m tutelage`: the command line."""

from tutelage.cli import main

main()
