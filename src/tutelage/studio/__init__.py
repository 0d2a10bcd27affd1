"""The only web server: people answer questions on a page, and nothing that they said is lost.

Enters: a feedback store, requests. Leaves: a page, answers in the store. What a model wrote is hostile here, and so is
every request until it has shown where it comes from and whose it is.
May import: everything left of it; web code lives nowhere else.
Guarded by: tests/browser, tests/contracts/test_studio.py.
"""
