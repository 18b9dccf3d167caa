"""From bytes on a socket to audio that is measured, hashed and replayable."""
