"""heatproof.zoo"""
