"""Playing with the models of runs: talk, blind arena, best of n, a reward model's opinion of a text.

Enters: what a person types. Leaves: replies made safe, scores, and the arena's answers in the feedback store. Models
are loaded in the studio's process when they are first asked, a few at a time; one of them answers at a time.
"""
