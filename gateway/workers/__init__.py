"""Several processes behind one port: a parent, its workers, and one engine for local models."""
