"""What is seen: figures, coloured text, widgets, and the source of what was computed."""
