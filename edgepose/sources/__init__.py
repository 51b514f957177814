"""Where frames come from: one module per kind, and what a user types turned into a source."""
