"""The version of edgepose, in one place."""

__version__ = "0.3.0"
