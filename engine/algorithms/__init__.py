"""The mathematics of RLHF as pure functions over tensors."""
