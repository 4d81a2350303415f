"""How the agents learn and how they are measured."""
