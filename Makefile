PYTHON ?= python3
PY := .venv/bin/python
.PHONY: install test quick test-elsewhere lint demo demo-cyclegan demo-pix2pix demo-gan
.PHONY: demo-growing soak benchmarks clean

install: .venv/installed

.venv/installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps $(PEERS)
	touch $@

test: install
	OMP_NUM_THREADS=1 $(PY) -m pytest -n auto --dist loadfile --no-loadscope-reorder

# For daily work, in less than a minute: rooms, losses, networks, one short run of each command.
quick: install
	OMP_NUM_THREADS=1 $(PY) -m pytest -n auto --dist worksteal -m "not slow" \
		tests/test_quick.py tests/test_rooms.py tests/losses tests/models

# The numeric tests twice more, with sums in the orders of an old and of another processor.
test-elsewhere: install
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 PAIRLESS_TEST_THREADS=1 $(NUMERIC)
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 PAIRLESS_TEST_THREADS=2 $(NUMERIC)

NUMERIC := OMP_NUM_THREADS=1 $(PY) -m pytest -n auto --dist loadfile --no-loadscope-reorder -m numeric

# Libraries that the tests compare contrastive losses and attacks with. They are installed without their
# dependencies: lightly has many, torchattacks pins an old version of requests, and those that foolbox
# needs are listed after it.
PEERS := lightly==1.6.0 lightly_utils==0.0.2 torchattacks==3.5.1 foolbox==3.3.4 eagerpy==0.30.0 \
	GitPython==3.2.1 gitdb==4.0.12 smmap==5.0.3

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

# Small networks and few images, for two cores without a GPU. Without norms the generator sees how
# bright a picture is, and needs an initialization that keeps the scale of the signals.
DEMO := --generator resnet_6blocks --base_channels 16 --generator_norm none \
	--initialization orthogonal --initialization_gain 1 --discriminator_channels 32 \
	--discriminator_layers 2 --nce_channels 64 --no-nce_identity --identity_weight 10 \
	--load_size 64 --crop_size 64 --batch_size 2 --learning_rate 8e-4 --constant_epochs 18 \
	--decay_epochs 10 --ema_halflife_images 300 --workers 0 --log_every 256 --preview_every 1024 \
	--save_every 2048

# The same pictures by CycleGAN, there and back: demo-cyclegan/sheet.png.
demo-cyclegan: install
	rm -rf demo-cyclegan
	$(PY) pocket.py draw --output demo-cyclegan/data
	$(PY) train_cyclegan.py --dataroot demo-cyclegan/data --run_dir demo-cyclegan/run $(DEMO_CYCLEGAN)
	$(PY) translate.py --checkpoint demo-cyclegan/run --direction a2b --input demo-cyclegan/data/testA --output demo-cyclegan/translated --batch_size 8
	$(PY) translate.py --checkpoint demo-cyclegan/run --direction b2a --input demo-cyclegan/translated --output demo-cyclegan/returned --batch_size 8
	$(PY) pocket.py score --data demo-cyclegan/data --translated demo-cyclegan/translated --returned demo-cyclegan/returned --sheet demo-cyclegan/sheet.png

DEMO_CYCLEGAN := --generator resnet_6blocks --base_channels 16 --discriminator_channels 16 \
	--discriminator_layers 2 --load_size 70 --crop_size 64 --batch_size 4 --learning_rate 4e-4 \
	--identity_weight 1 --constant_epochs 6 --decay_epochs 4 --ema_halflife_images 300 \
	--workers 1 --log_every 256 --preview_every 512 --save_every 1024

# Label maps to zebras by pix2pix; the last preview is the sheet.
demo-pix2pix: install
	rm -rf demo-pix2pix
	$(PY) pocket.py draw --output demo-pix2pix/data --pairs --size 128
	$(PY) train_pix2pix.py --dataroot demo-pix2pix/data --run_dir demo-pix2pix/run $(DEMO_PIX2PIX)
	$(PY) translate.py --checkpoint demo-pix2pix/run --input demo-pix2pix/data/testA --output demo-pix2pix/translated --batch_size 8
	$(PY) evaluate.py --real demo-pix2pix/data/testB --fake demo-pix2pix/translated --metrics l1,psnr,ssim

DEMO_PIX2PIX := --source_classes 11 --generator unet_128 --base_channels 16 \
	--discriminator_channels 16 --load_size 138 --crop_size 128 --batch_size 4 \
	--learning_rate 4e-4 --constant_epochs 13 --decay_epochs 7 --workers 1 --log_every 256 \
	--preview_every 1024 --save_every 1024 --evaluate_every 1024

# Circles, rings, squares and triangles from noise by DCGAN: demo-gan/sheet.png, demo-gan/walk.webp.
demo-gan: install
	rm -rf demo-gan
	$(PY) pocket.py shapes --output demo-gan/shapes --count 4096
	$(PY) train_gan.py --dataroot demo-gan/shapes --labels folders --run_dir demo-gan/run --preset dcgan_tiny --workers 1
	$(PY) generate.py --checkpoint demo-gan/run --output demo-gan/samples --num 800 \
		--labels circle ring square triangle --interpolate demo-gan/walk.webp --keys 6
	$(PY) pocket.py recognize --samples demo-gan/samples --sheet demo-gan/sheet.png

# A progressive GAN that grows from 4 to 32 px: demo-growing/strip.png.
demo-growing: install
	rm -rf demo-growing
	$(PY) pocket.py shapes --output demo-growing/shapes --count 4096
	$(PY) train_gan.py --dataroot demo-growing/shapes --run_dir demo-growing/run $(DEMO_GROWING)
	$(PY) examples/growing.py --run_dir demo-growing/run --output demo-growing/strip.png

DEMO_GROWING := --preset progressive --crop_size 32 --base_channels 256 \
	--discriminator_channels 256 --most_channels 32 --latent_channels 32 --no-flip \
	--stable_images 10000 --fade_images 3000 --total_images 47000 --batch_size 16 \
	--batch_size_at 4 16 8 16 --learning_rate 2e-3 --ema_halflife_images 500 --workers 1 \
	--log_every 1000 --preview_every 2500 --save_every 10000

# Ten SIGKILLs at random moments; the run must end as the one left alone.
soak: install
	$(PY) tests/soak.py

# On a machine with a GPU, benchmarks/gpu.py beside them.
benchmarks: install
	$(PY) benchmarks/launches.py
	$(PY) benchmarks/roofline.py
	$(PY) benchmarks/data.py
	$(PY) benchmarks/cut_step.py
	$(PY) benchmarks/cyclegan_step.py
	$(PY) benchmarks/pix2pix_step.py
	$(PY) benchmarks/gan_step.py
	$(PY) benchmarks/features_step.py
	$(PY) benchmarks/losses.py
	$(PY) benchmarks/patch_losses.py
	$(PY) benchmarks/attacks.py
	$(PY) benchmarks/frechet.py
	$(PY) benchmarks/fid.py
	$(PY) benchmarks/all_reduce.py

clean:
	rm -rf .venv demo demo-cyclegan demo-pix2pix demo-gan demo-growing build *.egg-info
