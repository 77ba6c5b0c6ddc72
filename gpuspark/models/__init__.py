"""``gs.score``: fitted models of scikit-learn, XGBoost and LightGBM over the rows of a Spark frame.

Imports ``kernels``, ``dialects``, ``execution`` and the folders before them. Only ``trees`` imports a library of
models, on the driver.

- ``score``: the public function.
- ``features``: selects and checks the columns that a model gets.
- ``estimators``: turns a fitted estimator into a ``Scorer``. ``trees``: the same for ensembles of trees.
- ``scorer``: the arrays and rules that workers compute predictions from.
"""
