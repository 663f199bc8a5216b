"""How Loafer does beside raw loops and its peers: runs processes and looks at them.

Imports nothing of the product, but for `bench.observers`.
"""
