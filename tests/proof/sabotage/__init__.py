"""Does every test fail when the code that it guards is broken? ``make sabotage`` breaks a copy of the
repository in one place after the other (:mod:`sabotage.breaks`), and runs the tests that should notice."""
