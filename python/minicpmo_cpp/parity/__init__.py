"""How far this engine is from the official code, module by module; __main__.py is the command."""
