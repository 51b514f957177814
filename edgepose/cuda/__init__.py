"""A device: memory, streams, events, graphs and the kernels, behind one protocol.

``native`` (edgepose._cuda) can do all of it, ``pycuda`` what host-side backends need, and ``host``
runs the same kernels' sources where there is no GPU, so that the device cascade is tested anywhere.
"""
