"""heatproof.similarity"""
