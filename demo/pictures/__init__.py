"""Pictures from seeds, and what is true about them."""
