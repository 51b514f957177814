"""Bundles in the forms that other servers take."""
