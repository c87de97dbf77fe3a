"""The playground: screens in one process that loads no torch; training and sampling are children."""
