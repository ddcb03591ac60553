"""Checkpoint folders of the MiniCPM-o family -> one GGUF file. Not imported by the runtime package."""
