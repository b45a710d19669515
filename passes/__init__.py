"""The built-in passes, one per file; the file carries the pass's name (`fold-batchnorm` lives in `fold_batchnorm.py`)."""
