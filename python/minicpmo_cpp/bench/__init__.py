"""What this machine can do, and what each stage of a model makes of it."""
