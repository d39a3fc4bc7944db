PYTHON ?= python3
PY := .venv/bin/python
.PHONY: install test lint demo soak benchmarks clean

install: .venv/installed

.venv/installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

test: install
	$(PY) -m pytest

lint: install
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

# From nothing to a sheet of translated pictures, demo/sheet.png.
demo: install
	rm -rf demo
	$(PY) pocket.py draw --output demo/data
	$(PY) train_cut.py --dataroot demo/data --run_dir demo/run $(DEMO)
	$(PY) translate.py --checkpoint demo/run --input demo/data/testA --output demo/translated --batch_size 8
	$(PY) pocket.py score --data demo/data --translated demo/translated --sheet demo/sheet.png

# Small networks and few images, so that two cores without a GPU need about four minutes.
DEMO := --generator resnet_6blocks --base_channels 16 --discriminator_channels 16 \
	--discriminator_layers 2 --nce_channels 64 --load_size 70 --crop_size 64 \
	--batch_size 4 --learning_rate 4e-4 --constant_epochs 13 --decay_epochs 7 \
	--ema_halflife_images 300 --workers 1 --log_every 256 --preview_every 512 --save_every 1024

# Ten SIGKILLs at random moments; the run must end as the one left alone.
soak: install
	$(PY) tests/soak.py

benchmarks: install
	$(PY) benchmarks/cut_step.py

clean:
	rm -rf .venv demo build *.egg-info
