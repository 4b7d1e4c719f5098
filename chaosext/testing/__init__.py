"""For people who write tests of their own: the pytest plugin's fixtures, and what they give."""
