"""The built-in passes, one per file, which carries the pass's name: `fold-batchnorm` lives in `fold_batchnorm.py`."""
