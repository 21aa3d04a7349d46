"""Several towers as one: how their tokens are joined, their inputs, and the module that runs them."""
