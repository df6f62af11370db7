"""How language models learn: from the next word to human feedback.

The package reads from top to bottom in lesson order: ``language`` (what is predicted), ``models``
(what predicts), ``training`` (how it learns). ``exercises``, ``classroom`` and ``viewing`` stand
around it; the core never imports them.
"""

__version__ = "0.1.0"
