"""Set-ups of a transfer as data: the published ones, ours, and their weights side by side."""
