"""Side by side with another library on one workload, stage by stage; and checkpoints exchanged with it; and
labelers killed by the hundred; keys, rounds and the opening of a long run, timed. Not run by the checks: the other
library needs an environment of its own, kills and times need a quiet machine."""
