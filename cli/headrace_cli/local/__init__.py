"""The whole application on this machine: broker, AWS server, functions, and what they did."""
