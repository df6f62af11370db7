"""How a model is specialised."""
