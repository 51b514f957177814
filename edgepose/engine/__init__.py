"""TensorRT engines of a bundle's networks: convert, build, keep, verify, run.

``edgepose-build`` is the command; docs/engines.md explains how the parts hang together. Nothing
here imports TensorRT before it is asked to.
"""
