"""Where state lives that outlasts a request, or is shared between processes."""
