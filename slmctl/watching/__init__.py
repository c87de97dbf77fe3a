"""Following runs and showing them as text: what a terminal shows of them, whether in the playground or as one frame."""
