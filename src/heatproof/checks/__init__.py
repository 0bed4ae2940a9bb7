"""heatproof.checks"""
