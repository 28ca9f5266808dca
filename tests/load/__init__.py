"""Load: a real server in a temporary directory, a large population, and a simulated fleet that asks it."""
