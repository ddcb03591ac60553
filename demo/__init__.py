"""The demo model: a few megabytes of exactly this architecture, its training data and its training.

Everything it learns from is made by code in this folder, from seeds. `python -m demo.data`, `demo.train`,
`demo.export` and `demo.evaluate` are the steps; docs/decisions/015-the-demo-model.md says why it is as it is.
"""
