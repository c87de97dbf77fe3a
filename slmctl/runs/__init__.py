"""The runs of a folder as a screen needs them: how they stand, what is worth knowing of one, starting one."""
