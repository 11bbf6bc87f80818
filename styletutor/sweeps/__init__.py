"""Many transfers at once: a grid of settings on several processes or machines, and what it shows.

dask and distributed (the extra `cluster`) are imported only once there is something to paint.
"""
