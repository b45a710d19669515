# make demo    make the sample network faster, print its accuracy and its time before and after; writes out/
# make test    lint, types and tests
# make docs    the pages of docs/ as a site in out/docs, and what is generated of README.md
# make lock    constraints.txt anew, with the newest versions that pyproject.toml allows
# make audit   known vulnerabilities of those versions, as the Python Package Index tells them
# make soak    thousands of random networks: the pruned one computes what the masked one does
# Each sets up .venv first, once; PYTHON=python3.12 chooses the interpreter.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
AUDIT := $(BIN)/uv tool run --quiet pip-audit --strict --no-deps --disable-pip --requirement
NETWORK := models/resnet20_cifar10.onnx
SAMPLE := models/cifar10_sample.npz
OUT := out/resnet20_cifar10.compressed.onnx
HERE := out/resnet20_cifar10.ort.onnx
export ONNX_COMPRESS_TRAIN_ENV ?= $(CURDIR)/.stamp/train-env
TRAIN_ENV := $(ONNX_COMPRESS_TRAIN_ENV)/onnx-compress-requirements.txt

.PHONY: demo test types suite docs lock audit soak clean

demo: .stamp/demo
	mkdir -p out
	$(BIN)/onnx-compress $(NETWORK) -p depth,quantize --data $(SAMPLE)#train_images --preprocess cifar10 \
		--report out/report.json --output $(OUT) --overwrite
	$(BIN)/onnx-compress report out/report.json --output out/report.html --overwrite
	$(BIN)/onnx-compress eval $(NETWORK) --data $(SAMPLE) --preprocess cifar10
	$(BIN)/onnx-compress eval $(OUT) --data $(SAMPLE) --preprocess cifar10
	$(BIN)/onnx-compress $(NETWORK) -p quantize --data $(SAMPLE)#train_images --preprocess cifar10 \
		--target ort --output $(HERE) --overwrite --quiet
	$(BIN)/onnx-compress eval $(HERE) --data $(SAMPLE) --preprocess cifar10
	$(BIN)/onnx-compress bench $(NETWORK) $(HERE)

test: .stamp/test .stamp/torch $(TRAIN_ENV)
	$(BIN)/ruff check .
	$(MAKE) --no-print-directory --jobs=2 types suite

# Types are not checked with Python 3.10: for it, numpy has stubs whose arrays need two type arguments.
types: .stamp/test
	$(BIN)/python -c "import sys; sys.exit(sys.version_info >= (3, 11))" || $(BIN)/pyright --pythonpath $(BIN)/python

suite: .stamp/test
	$(BIN)/pytest

docs: .stamp/docs
	$(BIN)/python docs/fill_readme.py
	$(BIN)/mkdocs build --strict --quiet --site-dir out/docs

lock: .stamp/venv
	$(BIN)/python -m pip install --quiet uv
	head -2 constraints.txt > constraints.new
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --no-emit-index-url --no-header --no-annotate \
		$(foreach extra,cpu docs nvrtc test trt-rtx,--extra $(extra)) pyproject.toml >> constraints.new
	mv constraints.new constraints.txt

audit: .stamp/venv
	$(BIN)/python -m pip install --quiet uv
	$(AUDIT) constraints.txt
	$(AUDIT) runtime/training/ort/requirements.txt

soak: .stamp/test
	HYPOTHESIS_PROFILE=soak $(BIN)/pytest tests/compiler/graph/channels/test_random_networks.py \
		--hypothesis-show-statistics

clean:
	rm -rf .venv .stamp out

.stamp/venv:
	$(PYTHON) -m venv .venv
	mkdir -p .stamp
	touch $@

.stamp/demo: .stamp/venv pyproject.toml constraints.txt
	$(PIP) --editable '.[cpu]'
	touch $@

.stamp/docs: .stamp/venv pyproject.toml constraints.txt
	$(PIP) --editable '.[cpu,docs]'
	touch $@

.stamp/test: .stamp/venv pyproject.toml constraints.txt tests/third_party.txt
	$(PIP) --editable '.[cpu,docs,nvrtc,test,trt-rtx]'
	$(PIP) --no-deps --ignore-requires-python --requirement tests/third_party.txt
	touch $@

# Without one of these (no interpreter fits, say) the tests that need it are skipped.
.stamp/torch: tests/torch.txt | .stamp/test
	-$(PIP) --requirement $<
	touch $@

$(TRAIN_ENV): runtime/training/ort/requirements.txt | .stamp/test
	-$(BIN)/onnx-compress train-env create
