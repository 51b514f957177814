"""Evaluation: PCK and PCP per stage and joint."""
