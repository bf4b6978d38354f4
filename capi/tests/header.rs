//! `include/convgemm.h` is what cbindgen makes of the source. `CONVGEMM_WRITE_HEADER=1 cargo test --test header` writes it.

use std::path::Path;

#[test]
fn the_header_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let sources = ["lib", "context", "descriptor", "gradients", "status"];
    let builder = sources.iter().fold(cbindgen::Builder::new().with_config(config), |builder, source| {
        builder.with_src(root.join(format!("src/{source}.rs")))
    });
    let mut made = Vec::new();
    builder.generate().unwrap().write(&mut made);
    let made = String::from_utf8(made).unwrap();
    let path = root.join("include/convgemm.h");
    if std::env::var_os("CONVGEMM_WRITE_HEADER").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert!(
        committed == made,
        "include/convgemm.h is stale: CONVGEMM_WRITE_HEADER=1 cargo test --test header"
    );
}
