"""Around the lesson: the machine check and the upkeep of the pages."""
