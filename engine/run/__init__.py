"""Planning and driving a run: which stages are left, with which inputs, on which machine."""
