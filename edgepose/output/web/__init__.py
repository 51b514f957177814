"""The live page: ``--serve``."""
