"""How a model is aligned: preferences, a reward learned from them, and a policy that follows it."""
