"""What predicts: model(ids) -> logits."""
