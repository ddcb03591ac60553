"""Full duplex outside of Python programs: films, microphones and the terminal."""
