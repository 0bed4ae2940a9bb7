"""heatproof.auditing"""
