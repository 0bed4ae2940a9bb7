"""heatproof.randomization"""
