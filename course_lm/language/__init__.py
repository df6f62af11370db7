"""What is predicted: text, tokens, and a language whose probabilities are known."""
