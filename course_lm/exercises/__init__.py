"""Exercises with instant checks and in-page questions; one module per lesson holds the checks."""
