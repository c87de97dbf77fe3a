"""The manual: Markdown pages, shown by `slmctl guide` and by the playground."""
