"""The bake-off: several controllers, many seeds each, on one cheap problem, with the statistics to tell them apart.

It is called `bake_off` because `nas.bakeoff` is the function.
"""
