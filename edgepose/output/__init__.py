"""Where results go: a sink per kind of output, and one table that names them."""
