"""Spoken sentences from seeds, as espeak-ng says them, and what is said."""
