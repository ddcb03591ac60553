"""What speaks: parts between codes of speech and sound."""
