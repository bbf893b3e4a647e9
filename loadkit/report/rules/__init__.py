"""The rules by which a run is judged, one module for each subject, with what each says and whom it names.

What they look at is in report/evidence, in the module of the same subject. report/verdict.py has their order.
"""
