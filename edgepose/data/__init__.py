"""Annotated pictures on disk."""
