"""A whole corpus of videos and pictures, spread over processes and machines by Ray Data."""
