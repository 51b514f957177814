"""Whether what runs is right: golden pairs on a backend, drift of engines."""
