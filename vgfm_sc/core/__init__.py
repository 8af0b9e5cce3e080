"""Arrays and tensors in, arrays and tensors out.

Glossary
--------
``n, m``
    Cells of the earlier and the later snapshot of an interval.
``d``
    Dimensions trained on: those of the representation, or its principal axes where it has very many.
``x0, x1``
    Earlier and later cells, shapes ``(n, d)`` and ``(m, d)``; as a pair, one row each.
``mass0, mass1``
    Mass the cells hold, shapes ``(n,)`` and ``(m,)``; 1 for a cell unless told otherwise. What is expected of growth
    changes the ratios of the ``mass0`` that a coupling starts from, and not what a row mass is a share of.
``plan``
    Mass sent from source to target cells, shape ``(n, m)``, never held dense.
``row_mass``
    What one unit of the mass that a source cell holds becomes over the interval, shape ``(n,)``.
``s``
    Place within an interval, 0 at its start and 1 at its end.
``t``
    Time; inside ``core`` 0 in the middle of the course and 1 for a mean interval.
``v``
    Velocity dx/dt, shape ``(n, d)``.
``g``
    Growth rate d log m / dt, shape ``(n,)``.
``log_m``
    Log of the mass a simulated cell carries, 0 at its start, shape ``(n,)``.
``eps, rho``
    Entropic and source-marginal penalties of a coupling, as shares of the mean squared distance of two cells.
``delta``
    Length that sets the price of growth against motion, as a share of the root of that distance.
``tol``
    Bound of an error, as a share of what it is an error of.
"""
