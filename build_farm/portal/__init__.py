"""The pages about builds: a customer's own, and for operators the queue, the workers and mass rebuilds."""
