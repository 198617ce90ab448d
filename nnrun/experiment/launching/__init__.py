"""Workers of one sweep or run: started here or elsewhere, overseen, and what a worker does to take part.

What there is to do, who does it and what came of it lies in a folder (`records/claims.py`); launchers only
start processes that find it.
"""
