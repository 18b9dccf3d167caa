"""What callers see. Each front parses its own dialect into a job and renders the answer back; none knows the rest."""
