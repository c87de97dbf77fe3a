"""Side by side with another library on one workload, stage by stage; and checkpoints exchanged with it. Not run by the
checks: the other library needs an environment of its own."""
