"""How fast edgepose is on this machine: measure, tell, advise."""
