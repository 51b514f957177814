"""Where the persons are in a frame, who is who from frame to frame, and smooth motion."""
