"""One job's way to a transcript."""
