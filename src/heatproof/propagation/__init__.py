"""heatproof.propagation"""
