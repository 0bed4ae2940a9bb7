"""The parts of `whole_audit.py`: what is asked, our answer, and the scripts that others write for it."""
