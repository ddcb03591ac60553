"""The layouts of published files, written: what llama.cpp and llama.cpp-omni read."""
