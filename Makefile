# The few words a contributor needs. `.ci/run` calls the same commands.
.PHONY: demo test lint bench bench-images bench-verify bench-backups fuzz doc

demo:            ## the main job against an embedded AWS: no account, no network
	cargo run --example demo

test:            ## every test; needs Python 3 for those against moto
	cargo test --workspace

lint:            ## format, clippy, documentation, licences and sources of dependencies
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
	@if cargo deny --version >/dev/null 2>&1; then cargo deny --offline check bans licenses sources; \
	else echo "lint: cargo-deny is not installed, so deny.toml was NOT checked (cargo install cargo-deny)"; fi

bench:           ## larder beside its peers; SECTIONS, ROUNDS, ITEMS and LARDER_CORPUS=DIR choose
	cargo bench --bench peers

bench-images:    ## pulling an image beside skopeo, from docker-registry; ROUNDS, LAYERS and LAYER_MB choose
	cargo bench --bench images

bench-verify:    ## verifying 1 GB beside sha256sum -c; ROUNDS and MB choose
	cargo bench --bench verify

bench-backups:   ## backing up 2,000 versions beside a script with boto3; ROUNDS, FUNCTIONS, LATENCY_MS and PYTHON choose
	cargo bench --bench backups

doc:             ## the library's documentation
	cargo doc --no-deps --open

fuzz:            ## the unpacker's targets, each for SECONDS (60); TARGET names one
	for target in $${TARGET:-headers plan unpack}; do fuzz/run $$target $${SECONDS:-60} || exit 1; done
