# Two commands: `make demo` shows Coracle at work, `make test` tests everything.
# Each installs what it needs first (`make deps` alone installs all of it).

.PHONY: help deps build-deps build demo test test-aarch64 test-kvm bench-kvm test-cpython test-soak test-storage test-crash test-allocations fuzz-syscalls bench doc clean

help:
	@echo 'make demo    boot memcached as a unikernel and talk to it'
	@echo 'make test    check and test everything'
	@echo 'make test-aarch64  boot every program on aarch64 in both modes, on 1 and 2 CPUs (takes 10 to 20 minutes)'
	@echo 'make test-kvm  boot test programs under KVM on an emulated CPU (downloads a kernel, takes 10 to 30 minutes)'
	@echo 'make test-cpython  run the tests of CPython on Linux and in guests (as root; downloads packages, takes hours; ARGS=test_os: minutes)'
	@echo 'make bench-kvm  count VM exits there (takes minutes for each machine)'
	@echo 'make test-soak    all that once stopped a guest, in a loop for DURATION seconds (3600)'
	@echo 'make test-storage    have the power fail at every point of WORKLOADS (6) random uses of ext4 (2 minutes each)'
	@echo 'make test-crash    kill KILLS (200) guests with databases under load, and look for what they acknowledged'
	@echo 'make test-allocations    have every allocation of calls and programs fail in turn (takes half an hour)'
	@echo 'make fuzz-syscalls    fuzz the system calls for an hour, in guests'
	@echo 'make bench   measure against a Linux guest'
	@echo 'make build   build the coracle command (target/release/coracle)'
	@echo 'make doc     build the documentation'
	@echo 'make deps    install what the others need (Debian 12; asks sudo if you are not root)'
	@echo 'make clean   remove what was built'

deps:
	@scripts/deps.sh

# The part of them that building and the demo need.
build-deps:
	@scripts/deps.sh build

build: build-deps
	@scripts/cargo.sh build --release

demo: build
	@scripts/demo.sh

test: deps
	@scripts/test.sh

# A part of a test's name goes into ARGS: make test-aarch64 ARGS=signals::
test-aarch64: deps build
	@CORACLE_TEST_MATRIX=full scripts/cargo.sh test --release -p coracle-tests --test aarch64 -- $(ARGS)

# A part of a test's name goes into ARGS: make test-kvm ARGS=signals
test-kvm: deps build
	@scripts/cargo.sh run --release --package coracle-tests --bin kvm -- test $(ARGS)

# A part of a machine's name goes into ARGS: make bench-kvm ARGS=protected_q35
bench-kvm: deps build
	@scripts/cargo.sh run --release --package coracle-tests --bin kvm -- bench $(ARGS)

# Modules and options go into ARGS: make test-cpython ARGS='--only linux --only protected test_os test_socket'
test-cpython: deps build
	@scripts/cargo.sh run --release --package coracle-tests --bin cpython -- $(ARGS)

# make test-soak DURATION=600 ends after ten minutes.
test-soak: deps
	@DURATION=$(or $(DURATION),3600) scripts/soak.sh

# make test-storage WORKLOADS=100 tries a hundred.
test-storage: deps
	@CORACLE_EXT4_CRASHES=$(or $(WORKLOADS),6) scripts/cargo.sh test --package coracle-ext4 --test crash -- --ignored --nocapture

# make test-crash KILLS=1000 kills a thousand; SEED=2 sets where chance starts.
test-crash: deps build
	@CORACLE_KILLS=$(or $(KILLS),200) CORACLE_SEED=$(or $(SEED),1) scripts/cargo.sh test --release --package coracle-tests --test databases -- --test-threads 1

# A part of a test's name goes into ARGS: make test-allocations ARGS=shell
test-allocations: deps build
	@scripts/cargo.sh test --release --package coracle-tests --test allocations -- --ignored $(ARGS)

# An hour in guests of 64 MB. Its options go into ARGS: make fuzz-syscalls ARGS='--seconds 600 --cpus 2 --seed 5'
fuzz-syscalls: deps build
	@scripts/cargo.sh run --release --package coracle-fuzz-syscalls -- --seconds 3600 $(ARGS)

# Its options go into ARGS: make bench ARGS='--only memcached-64 --rounds 1'
bench: deps build
	@scripts/cargo.sh run --release --package coracle-bench -- $(ARGS)

doc: deps
	@scripts/doc.sh

clean:
	@scripts/cargo.sh clean
